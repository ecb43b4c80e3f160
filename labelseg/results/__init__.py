"""What is made of finished artifacts: scores, masks of other images, pictures."""
