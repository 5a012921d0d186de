"""Following values through a file: names, attributes, branches, calls into the project, layers and losses.

The interpreter here is abstract: it runs nothing, and knows of a value only which operation made it. Where two
branches disagree, or a loop may have changed something, it forgets. So what it does know is certain, or nearly so.
"""

from __future__ import annotations

from lossary.lint.flow.calls import Calls
from lossary.lint.flow.expressions import Expressions
from lossary.lint.flow.frames import ClassInfo, FlowEvent, Frame, FunctionInfo, GradientStep, Module
from lossary.lint.flow.functions import Functions
from lossary.lint.flow.gradients import Gradients
from lossary.lint.flow.imports import Imports
from lossary.lint.flow.keras import Keras
from lossary.lint.flow.layers import Layers
from lossary.lint.flow.names import dotted, walk_statements
from lossary.lint.flow.project import Project
from lossary.lint.flow.statements import Statements


class Flow(Statements, Imports, Expressions, Calls, Layers, Functions, Gradients, Keras):
    """Follows one file, and tells the listener what it meets."""

    def check(self, module: Module) -> None:
        """Follow a whole file: its body, then every function and method by itself."""
        self.run_module(module)
        assert module.frame is not None
        self.emit(FlowEvent("function", module.frame.node, module.frame))
        self.follow_functions(module.frame)
        for owner in module.classes:
            self._class(owner, module)

    def follow_functions(self, frame: Frame) -> None:
        """Follow the functions that were defined in a frame, each by itself."""
        for info in frame.functions:
            self.function(info)

    def _class(self, owner: ClassInfo, module: Module) -> None:
        instance = self.instance(owner, (), {}, owner.node)
        for method in owner.methods.values():
            if method.name != "__init__":
                outer = self.run_module(module)
                before = instance.attributes
                self.function(FunctionInfo(method, module, outer, instance, owner))
                instance.attributes = before


__all__ = ["ClassInfo", "Flow", "FlowEvent", "Frame", "GradientStep", "Module", "Project", "dotted", "walk_statements"]
