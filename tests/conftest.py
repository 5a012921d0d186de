"""Settings of the whole test run."""

import hypothesis

# The same examples in every run, so that a failure is met by whoever caused it; time is the machine's affair, no limit.
hypothesis.settings.register_profile("lossary", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.load_profile("lossary")
