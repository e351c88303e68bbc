"""Actions on Kubernetes Deployments and Services, through the official client's credentials and connection pool.

client      one cluster of policy.yaml: guarded requests, deadlines, and answers translated into our errors
rollout     when a Deployment's change is done, and what stands in its way
objects     reading and marking the objects that actions change
scale, rollback, restart, switch_service, wait: one action each
"""
