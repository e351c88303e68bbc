"""Text from outside as data, one function a medium: `characters` is under all of them, `markdown`, `terminal`, `html` and `chat` are the media.

An alert, a parameter, a system or a person may have written any value that a view shows. A view passes each value through its medium's
function, and prints a value in no other way (tests/rendering keeps it so).
"""
