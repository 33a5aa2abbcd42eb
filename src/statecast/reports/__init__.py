"""Reports: the HTML report on runs, and the inspection of files and folders."""
