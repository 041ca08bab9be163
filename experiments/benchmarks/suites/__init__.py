"""`python run.py benchmark`: suites of clips that measure how accurate fits are, with tables and a figure."""
