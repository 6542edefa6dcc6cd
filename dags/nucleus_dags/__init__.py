"""What the DAG files share: the task catalogue, the launchers, the form, the plates of the inbox."""
