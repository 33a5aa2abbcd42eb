"""What people read: the HTML report on runs, and what a file or folder holds."""
