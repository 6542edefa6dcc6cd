"""From the scores of experiments to tables and figures in the paper's form; `tabulate` uses it."""
