"""Maps from unconstrained numbers to the regions of parameters."""

from __future__ import annotations

from typing import Any

from rustgrad.distributions import constraints, transforms

__all__ = ["ConstraintRegistry", "biject_to", "transform_to"]


class ConstraintRegistry:
    """Finds the map for a region."""

    def __init__(self) -> None:
        self._registry: dict[Any, Any] = {}

    def register(self, constraint: Any, factory: Any = None) -> Any:
        """Note what makes the map for a class of regions; also a decorator."""
        if factory is None:
            return lambda made: self.register(constraint, made)
        if isinstance(constraint, constraints.Constraint):
            constraint = type(constraint)
        if not isinstance(constraint, type) or not issubclass(constraint, constraints.Constraint):
            message = f"Expected constraint to be either a Constraint subclass or instance, but got {constraint}"
            raise TypeError(message)
        self._registry[constraint] = factory
        return factory

    def __call__(self, constraint: Any) -> Any:
        """Return the map onto a region."""
        factory = self._registry.get(type(constraint))
        if factory is None:
            message = f"Cannot transform {type(constraint).__name__} constraints"
            raise NotImplementedError(message)
        return factory(constraint)


biject_to = ConstraintRegistry()
transform_to = ConstraintRegistry()


def _between(region: Any) -> Any:
    low, high = region.lower_bound, region.upper_bound
    if (low, high) == (0, 1):
        return transforms.SigmoidTransform()
    return transforms.ComposeTransform([transforms.SigmoidTransform(), transforms.AffineTransform(low, high - low)])


def _above(region: Any) -> Any:
    maps = [transforms.ExpTransform(), transforms.AffineTransform(region.lower_bound, 1)]
    return transforms.ComposeTransform(maps)


def _below(region: Any) -> Any:
    maps = [transforms.ExpTransform(), transforms.AffineTransform(region.upper_bound, -1)]
    return transforms.ComposeTransform(maps)


for _registry in (biject_to, transform_to):
    _registry.register(constraints.real, lambda region: transforms.identity_transform)
    _registry.register(constraints.greater_than, _above)
    _registry.register(constraints.greater_than_eq, _above)
    _registry.register(constraints.less_than, _below)
    _registry.register(constraints.interval, _between)
    _registry.register(constraints.half_open_interval, _between)
    _registry.register(constraints.corr_cholesky, lambda region: transforms.CorrCholeskyTransform())
    _registry.register(
        constraints.independent,
        lambda region, to=_registry: transforms.IndependentTransform(
            to(region.base_constraint), region.reinterpreted_batch_ndims
        ),
    )
    _registry.register(
        constraints.cat,
        lambda region, to=_registry: transforms.CatTransform(
            [to(part) for part in region.cseq], region.dim, region.lengths
        ),
    )
    _registry.register(
        constraints.stack,
        lambda region, to=_registry: transforms.StackTransform([to(part) for part in region.cseq], region.dim),
    )

biject_to.register(constraints.simplex, lambda region: transforms.StickBreakingTransform())
transform_to.register(constraints.simplex, lambda region: transforms.SoftmaxTransform())
transform_to.register(constraints.lower_cholesky, lambda region: transforms.LowerCholeskyTransform())
for _region in (constraints.positive_definite, constraints.positive_semidefinite):
    transform_to.register(_region, lambda region: transforms.PositiveDefiniteTransform())
