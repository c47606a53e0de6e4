"""Opening the models that a user names as predictors: run folders, Keras files (safely) and exported files."""
