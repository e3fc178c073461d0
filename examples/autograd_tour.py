"""The chapter "Automatic Differentiation", statement by statement, as in a notebook.

Every snippet of the chapter runs unchanged but for its import line. Each statement is printed behind
``>>>``, its value below it, as Python's prompt would show it. Run: ``python examples/autograd_tour.py``.
"""

from __future__ import annotations

import ast
import sys
from typing import Any

CHAPTER = """
# 2.5.1 A simple function
import rustgrad as torch

x = torch.arange(4.0)
x # tensor([0., 1., 2., 3.])

x.requires_grad_(True)  # the same as x = torch.arange(4.0, requires_grad=True)
x.grad  # None at first

y = 2 * torch.dot(x, x)
y # tensor(28., grad_fn=<MulBackward0>)

# We can now take the gradient of y with respect to x by calling its backward method. Next, we can access the gradient via x's grad attribute.
y.backward()
x.grad

# We already know that the gradient of the function is 4x
x.grad == 4 * x


# Gradients are accumulated; clear the old ones first
x.grad.zero_()

y = x.sum()
y.backward()
x.grad # tensor([1., 1., 1., 1.])

# 2.5.2 Backward for non-scalar variables
x.grad.zero_()
y = x * x
y.backward(torch.ones(len(x))) # Faster: y.sum().backward()
x.grad

# 2.5.3 Detaching computation
x.grad.zero_()
y = x * x
u = y.detach()
z = u * x

z.sum().backward()
x.grad == u
# tensor([True, True, True, True])

x.grad.zero_()
y.sum().backward()
x.grad == 2 * x

# 2.5.4 Gradients and Python control flow
def f(a):
    b = a * 2
    while b.norm() < 1000:
        b = b * 2
    if b.sum() > 0:
        c = b
    else:
        c = 100 * b
    return c

a = torch.randn(size=(), requires_grad=True)
d = f(a)
d.backward()
# f is piecewise linear in a: f(a) = k * a, so d / a is the gradient
a.grad == d / a
# tensor(True)
"""


def play(chapter: str) -> None:
    """Run the statements one by one and show each with its value."""
    namespace: dict[str, Any] = {"__name__": "chapter"}
    for statement in ast.parse(chapter).body:
        text = ast.get_source_segment(chapter, statement) or ""
        print(">>> " + text.replace("\n", "\n... "))
        sys.displayhook = lambda value: None if value is None else print(repr(value))
        exec(compile(ast.Interactive([statement]), "<chapter>", "single"), namespace)
        if isinstance(statement, ast.Import):
            namespace["torch"].manual_seed(0)  # the chapter draws one random number


if __name__ == "__main__":
    play(CHAPTER)
