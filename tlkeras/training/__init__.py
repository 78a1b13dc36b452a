"""Recipes: frozen dataclasses whose fit returns a fitted classifier."""
