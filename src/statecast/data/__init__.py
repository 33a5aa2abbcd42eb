"""DATASETS: name -> class of every data source."""
