"""Actions on AWS, through botocore: one module a service.

reads       which operations a dry run may call, by name
transport   the only way out: asks the guard, carries the step's deadline
credentials from an account's name in policy.yaml to a session that is proved to be in that account
client      one account for one step: operations by name, each read or sent, errors of the contract
errors      what AWS answered, in the contract's words
progress    waiting until a change is done, with what stands in its way
"""
