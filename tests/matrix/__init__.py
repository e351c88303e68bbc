"""The kill matrix: what stops a run exactly at a point, kills a part of it there, and looks at what became of it."""
