"""What the command line and the Python interface both do. Nothing in here prints, asks or ends the program."""
