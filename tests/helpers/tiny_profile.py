"""A profile that is measured in seconds, for the tests of what is done with its figures."""

from __future__ import annotations

from dataclasses import replace

from snnrepro.thesis.cells import PROFILES

_QUICK = PROFILES["quick"]
_SIMULATED = replace(_QUICK["dense"].nengo_dl, n_timed=20, minibatch=10, pace_rounds=1, merge=False)
TINY = {
    "quick": {
        "dense": replace(_QUICK["dense"], n_steps=(4,), recipes=("balanced",), nengo_dl=_SIMULATED),
        "autoencoder": replace(_QUICK["autoencoder"], n_test=4, n_steps=(4,)),
    }
}
