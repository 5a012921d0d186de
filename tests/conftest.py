"""Settings of the whole test run."""

import hypothesis

# The same examples in every run: a failure is met by whoever caused it. Times depend on the machine, so none is a limit.
hypothesis.settings.register_profile("lossary", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.load_profile("lossary")
