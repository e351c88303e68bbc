"""What stands around the fix: tell people, open tickets and bridges, post status, look into logs, traces and metrics.

Which service an action talks to is a name in policy.yaml; `site` finds it and its secret, and each kind has a module of its own, imported when it is
used. `web` is the way out for those without a library, `carrier` the one for libraries: both send through the guarded transport.
"""
