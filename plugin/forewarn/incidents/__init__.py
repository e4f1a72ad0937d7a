"""What belongs together, and why: correlation, probable cause, lifecycle. Pure folds over nouns; stores and tells nothing."""
