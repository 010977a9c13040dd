"""The courses' pictures: their list, their look, and how each is drawn."""
