"use strict";
const told = JSON.parse($("facts").textContent);
Object.assign(gallery, { images: told.images, classes: told.classes, stages: told.stages, orders: told.orders, changed: showAll });
beginGallery();
