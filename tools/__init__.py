"""Set-up of everything that the project runs on. Standard library only: it runs before the virtual environment exists."""
