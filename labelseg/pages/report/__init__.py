"""The report of a workspace: facts are collected as plain data, and one page is made of them."""
