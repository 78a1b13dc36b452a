"""What a fitted classifier looks at. The package itself can be called: `tl.explain(classifier, image, seed=0)`."""

import sys
import types


class _CallablePackage(types.ModuleType):
    # Importing tlkeras.explain.lime binds the package to `tlkeras.explain`, where users expect the function.
    def __call__(self, classifier, image, **options):
        """See `tlkeras.explain.lime.explain`."""
        from tlkeras.explain.lime import explain

        return explain(classifier, image, **options)


sys.modules[__name__].__class__ = _CallablePackage
