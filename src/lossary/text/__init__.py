"""Text for people: words in English and Chinese, formulas in plain Unicode, aligned columns."""
