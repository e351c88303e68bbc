"""`aws.alb_shift`: how the traffic of a load balancer's listener or rule is divided among its target groups."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from stopgap.actions import fields
from stopgap.actions.aws import progress, weights
from stopgap.actions.aws.client import JSON, Api, connect
from stopgap.actions.contract import Action, Change, Context, Effect, Outcome, PermanentError, Probe, Risk, Target, Undoes, action

_LISTENER = r"^arn:aws[a-z-]*:elasticloadbalancing:[^:]+:[0-9]{12}:listener/(app|net)/.+$"
_RULE = r"^arn:aws[a-z-]*:elasticloadbalancing:[^:]+:[0-9]{12}:listener-rule/app/.+$"


@action
class AlbShift:
    """Divide the traffic of an Application Load Balancer's listener, or of one of its rules, among target groups by weights."""

    name: ClassVar[str] = "aws.alb_shift"
    effect: ClassVar[Effect] = "changes"
    risk: ClassVar[Risk] = "high"
    undoes: ClassVar[Undoes] = "yes"
    waits: ClassVar[bool] = False
    confirms: ClassVar[bool] = False
    default_timeout: ClassVar[timedelta] = timedelta(minutes=5)
    permissions: ClassVar[Mapping[str, Any]] = {
        "aws": [
            "elasticloadbalancing:DescribeListeners",
            "elasticloadbalancing:DescribeRules",
            "elasticloadbalancing:DescribeTargetGroups",
            "elasticloadbalancing:DescribeTargetHealth",
            "elasticloadbalancing:ModifyListener",
            "elasticloadbalancing:ModifyRule",
        ]
    }
    outputs: ClassVar[Mapping[str, str]] = {"weights": "the weights now", "before": "the weights before"}

    account: fields.Account
    listener: Annotated[str | None, Field(pattern=_LISTENER, description="The listener's ARN; its default action is changed.")] = None
    rule: Annotated[str | None, Field(pattern=_RULE, description="The ARN of a listener's rule, instead of a listener.")] = None
    weights: Annotated[
        dict[str, Annotated[int, Field(ge=0, le=999)]],
        Field(
            min_length=1, max_length=5, description="Weights by the target groups' names; every group that gets traffic now must be named."
        ),
    ]

    def __post_init__(self) -> None:
        """ValueError unless there is one place, and some traffic goes somewhere."""
        if (self.listener is None) == (self.rule is None):
            raise ValueError('give either "listener" or "rule"')
        weights.refuse_nothing(self.weights)

    def targets(self) -> frozenset[Target]:
        """The listener or the rule; its ARN is the same in every account entry."""
        return frozenset({Target(f"aws/{self.listener or self.rule}")})

    def plan(self, context: Context) -> Change:
        """Read the weights, and see that every group that gets traffic has a healthy target."""
        with connect(context, self.account) as api:
            groups = _groups(api, self._forward(self._actions(api)))
            weights.refuse_unnamed(groups.now, self.weights, what="target group")
            arns = {**groups.arns, **_arns(api, [name for name in self.weights if name not in groups.arns])}
            for name in self.weights:
                if self.weights[name]:
                    _refuse_unhealthy(api, name, arns[name])
        return weights.change(groups.now, self.weights, what=self._place())

    def apply(self, context: Context, change: Change) -> Outcome:
        """Send the weights and wait until they are read back."""
        with connect(context, self.account) as api:
            if not change.is_empty:
                self._send(api)
            progress.wait(api, lambda: self._progress(api), what=self._place())
        return weights.outcome(change)

    def probe(self, context: Context, change: Change) -> Probe:
        """The listener's own weights tell: the new ones are ours, the old ones mean that nothing was sent, others are somebody else's."""
        with connect(context, self.account) as api:
            return weights.probe(_groups(api, self._forward(self._actions(api))).now, change)

    def undo(self, change: Change) -> Action | None:
        """Go back to the weights that were there; a group that was not there before keeps weight 0."""
        return None if change.is_empty else replace(self, weights=weights.before(change))

    def _actions(self, api: Api) -> list[JSON]:
        if self.listener:
            found = api.read("elasticloadbalancing:DescribeListeners", ListenerArns=[self.listener])["Listeners"]
            return list(found[0]["DefaultActions"]) if found else []
        found = api.read("elasticloadbalancing:DescribeRules", RuleArns=[self.rule])["Rules"]
        return list(found[0]["Actions"]) if found else []

    def _forward(self, actions: list[JSON]) -> JSON:
        forwards = [each for each in actions if each["Type"] == "forward"]
        if len(forwards) != 1:
            raise PermanentError(f"{self._place()} has no action that forwards to target groups; its actions: {_types(actions)}.")
        return forwards[0]

    def _send(self, api: Api) -> None:
        actions = self._actions(api)
        forward = self._forward(actions)
        here = _groups(api, forward).arns
        arns = {**here, **_arns(api, [name for name in self.weights if name not in here])}
        config = {
            **forward.get("ForwardConfig", {}),
            "TargetGroups": [{"TargetGroupArn": arns[k], "Weight": v} for k, v in self.weights.items()],
        }
        plain = {key: value for key, value in forward.items() if key != "TargetGroupArn"}
        sent = [{**plain, "ForwardConfig": config} if each is forward else each for each in actions]
        if self.listener:
            api.send("elasticloadbalancing:ModifyListener", repeatable=True, ListenerArn=self.listener, DefaultActions=sent)
        else:
            api.send("elasticloadbalancing:ModifyRule", repeatable=True, RuleArn=self.rule, Actions=sent)

    def _progress(self, api: Api) -> progress.Progress:
        return weights.arrived(_groups(api, self._forward(self._actions(api))).now, self.weights)

    def _place(self) -> str:
        return (self.listener or self.rule or "").split("/", 1)[-1]


@dataclass(frozen=True, slots=True)
class _Groups:
    """Target groups of a forward action: weights and ARNs by name."""

    now: Mapping[str, int]
    arns: Mapping[str, str]


def _groups(api: Api, forward: JSON) -> _Groups:
    listed = forward.get("ForwardConfig", {}).get("TargetGroups") or [{"TargetGroupArn": forward["TargetGroupArn"], "Weight": 1}]
    by_arn = {each["TargetGroupArn"]: int(each.get("Weight", 1)) for each in listed}
    found = api.read("elasticloadbalancing:DescribeTargetGroups", TargetGroupArns=list(by_arn))["TargetGroups"]
    arns = {str(each["TargetGroupName"]): str(each["TargetGroupArn"]) for each in found}
    return _Groups({name: by_arn[arn] for name, arn in arns.items()}, arns)


def _arns(api: Api, wanted: list[str]) -> dict[str, str]:
    if not wanted:
        return {}
    found = api.read("elasticloadbalancing:DescribeTargetGroups", Names=wanted)["TargetGroups"]
    arns = {str(each["TargetGroupName"]): str(each["TargetGroupArn"]) for each in found}
    if missing := [name for name in wanted if name not in arns]:
        raise PermanentError(f'{api.access.title} has no target group "{missing[0]}".')
    return arns


def _refuse_unhealthy(api: Api, name: str, arn: str) -> None:
    found = api.read("elasticloadbalancing:DescribeTargetHealth", TargetGroupArn=arn)["TargetHealthDescriptions"]
    states = [each["TargetHealth"]["State"] for each in found]
    if "healthy" not in states and "unused" not in states:
        how = ", ".join(sorted(set(states))) or "it has no targets"
        raise PermanentError(f"The target group {name} has no healthy target ({how}); traffic sent there would fail.")


def _types(actions: list[JSON]) -> str:
    return ", ".join(each["Type"] for each in actions) or "none"
