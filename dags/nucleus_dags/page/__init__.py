"""The page "Nuclei" in Airflow's navigation: plates, runs, models, results, annotation, settings."""
