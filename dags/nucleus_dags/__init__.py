"""What the DAG files share; README.md has a picture of the folders."""
