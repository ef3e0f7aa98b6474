"""Pages, plots and space-time diagrams of runs and studies. Reads what engines and verdicts left; measures nothing."""
