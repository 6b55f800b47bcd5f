"""The book around the method: data sets, the study's runs, figures, views, the press, pages."""
