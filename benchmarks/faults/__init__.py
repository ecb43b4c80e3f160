"""A campaign of faults: processes killed, raced and starved, files damaged, folders made by someone with bad intent."""
