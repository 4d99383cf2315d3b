"""The error tree of aiopt and its exit codes.  Knows nothing of the rest of the package.

An error that one package alone raises lives there; its module stands in brackets.  An exit code counts for
what hangs below it.  Whatever is raised on purpose and reaches a caller is in this tree, pickles with all it
carries (Ray sends errors from process to process), and is caught by ``except AioptError``.

::

    AioptError                      exit 1   something failed although the input was fine
    ├── InputError                  exit 2   the caller can mend it: bad file, value or usage
    │   ├── ConfigError                      a configuration key or value
    │   │   └── BeyondScreenError            [aiopt.screen.failures] what only the engine treats exactly
    │   ├── DataError                        market data: names the file and, where known, the row
    │   │   ├── ManifestError                a tick store's manifest is missing or disagrees with its files
    │   │   ├── UnevenBarsError              bars without a common length where one is needed
    │   │   └── AmbiguousStampsError         [aiopt.ticks.stamps.stamp_rules] a file's times fit two readings
    │   ├── SpecError                        a StrategySpec or condition
    │   ├── SearchSpaceError                 a SearchSpace without a valid point, zero trials, …
    │   ├── MetricInputError                 arrays a statistic is not defined on
    │   ├── AnalysisRequestError             what an analyst was asked to read cannot be read
    │   │   └── Unfit                        [aiopt.analyst.constraints] a family cannot meet the constraints
    │   ├── RunExistsError                   a run folder is in the way
    │   ├── NotARunError                     [aiopt.runs.records] the folder is not a run folder
    │   ├── RunFileError                     [aiopt.runs.records] a file of a run folder cannot be read
    │   ├── CheckpointError                  [aiopt.serving.checkpoint.weights] a checkpoint cannot be served
    │   ├── DamagedPictureError              [aiopt.serving.pictures.damage] a picture is not whole
    │   ├── UnknownModelError                [aiopt.serving.backend] no model is served under this name
    │   ├── BusMessageError                  [aiopt.bus.failures] a message that cannot be read
    │   ├── EngineRequestError               [aiopt.serving.backend] the engine refused the request
    │   └── SwapRefusedError        exit 1   [aiopt.serving.backend] a model operation was refused
    ├── BacktestError                        the engine refused or failed a trial
    │   └── ScreenMismatchError              [aiopt.screen.failures] screen and engine disagree on a trial
    ├── PineError                            a script could not be emitted, parsed or checked
    │   ├── PineEngineError                  [aiopt.verification.engine_folder] no whole Pine engine is there
    │   └── PineRunError                     [aiopt.verification.pine_runs] the engine cannot run a script
    ├── AnalystError                         no analysis could be made
    │   ├── ReplyError                       a model's reply breaks its schema or the facts of the request
    │   └── EndpointError                    a model endpoint cannot be reached, refused or was too slow
    ├── ClusterError                         Ray: no port, no token, job failed, node lost
    │   ├── ModelUnavailableError            [aiopt.serving.backend] no engine can answer now, try later
    │   ├── EngineFailureError               [aiopt.serving.backend] an engine that lives failed at a request
    │   ├── EngineStartError                 [aiopt.serving.swap.proof] an engine did not come up
    │   ├── ProbeMismatchError               [aiopt.serving.swap.proof] an engine answers as it should not
    │   ├── Overloaded                       [aiopt.serving.gateway.admission] no slot, no place in the queue
    │   ├── LinkDownError                    [aiopt.serving.engines.links] the way to an engine is gone
    │   └── WireError                        [aiopt.serving.engines.wire] the other side of a socket is gone
    ├── BusError                             [aiopt.bus.failures] the bus cannot be used as it is
    │   ├── BusDownError                     [aiopt.bus.failures] its server cannot be reached at this moment
    │   └── BusFullError                     [aiopt.bus.failures] no room before readers have read on
    ├── LibraryError                         [aiopt.library.failures] the library cannot be used as it is
    │   └── LibraryDownError                 [aiopt.library.failures] its server cannot be reached now
    ├── FeedError                            [aiopt.ticks.download.http] a request without a whole answer
    ├── HttpError                            [aiopt.serving.gateway.failures] a request answered with an error
    ├── VenueError                           [aiopt.live.paper.failures] the paper venue broke its own rules
    ├── TrainingError                        [aiopt.training.failures] a training cannot go on or be proved
    └── StorageError                         disk full, folder not writable

Signals are no errors: whoever raises one catches it in the same package, and nobody else sees it.

::

    Exception
    ├── ClientGone                           [aiopt.serving.gateway.exchange] nobody is left to answer
    ├── FaultError                           [aiopt.pine.parsing.faults] this statement cannot be read on
    ├── _ServerEnded                         [aiopt.library.keeper] nobody has to stop the server any more
    ├── _Refused                             [aiopt.analyst.answers] a text is not of the grammar of answers
    └── _StoppedError                        [aiopt.ticks.download.fetching] the run is being interrupted
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

EXIT_OK = 0
EXIT_FAILED = 1
EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
EXIT_TERMINATED = 143
"""SIGTERM: whoever started something elsewhere leaves it running and says so."""

_LISTED_NAMES = 60


class AioptError(Exception):
    """Base of all errors raised on purpose.  The message says what happened, the value and what to do."""

    exit_code = EXIT_FAILED

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle the message and every attribute, whatever arguments a subclass's ``__init__`` asks for."""
        return (_rebuilt, (type(self), self.args, vars(self).copy()))


def _rebuilt(cls: type[AioptError], args: tuple[object, ...], attributes: dict[str, object]) -> AioptError:
    error = cls.__new__(cls, *args)
    vars(error).update(attributes)
    return error


class InputError(AioptError):
    """The input breaks a rule; the caller can mend it."""

    exit_code = EXIT_BAD_INPUT


class ConfigError(InputError):
    """A configuration key is unknown or a value is out of range."""


class DataError(InputError):
    """Market data that cannot be used.

    Parameters
    ----------
    message : str
        Rule, value, remedy.
    file : Path or str, optional
        File at fault; put in front of the message.
    row : int, optional
        0-based record or row in `file`.
    """

    def __init__(self, message: str, *, file: Path | str | None = None, row: int | None = None) -> None:
        self.file = None if file is None else Path(file)
        self.row = row
        self.reason = message
        where = "" if file is None else f"{file}: " if row is None else f"{file}, row {row}: "
        super().__init__(where + message)


class ManifestError(DataError):
    """A manifest is missing, unreadable or disagrees with the files it describes."""


class UnevenBarsError(DataError):
    """Bars that do not all last equally long were given where a timeframe is needed."""


class SpecError(InputError):
    """A StrategySpec breaks a rule."""


class SearchSpaceError(InputError):
    """A SearchSpace has no valid point, or a sweep asks for none."""


class MetricInputError(InputError):
    """Arrays on which a statistic is not defined."""


class AnalysisRequestError(InputError):
    """What an analyst was asked to read cannot be read: no content, NaN, not a PNG, too large."""


class RunExistsError(InputError):
    """The run folder exists and belongs to another configuration."""


class BacktestError(AioptError):
    """The engine refused a spec or failed in a trial."""


class PineError(AioptError):
    """A script could not be emitted, parsed or checked."""


class AnalystError(AioptError):
    """No analysis could be made."""


class ReplyError(AnalystError):
    """A model's reply breaks its schema or contradicts the bars it was shown."""


class EndpointError(AnalystError):
    """A model endpoint cannot be reached, refused the request or was too slow."""


class ClusterError(AioptError):
    """Ray could not be started or reached, or a job failed."""


class StorageError(AioptError):
    """The disk is full or a folder cannot be written."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the nearest known name, or the known names where they are not many.

    Parameters
    ----------
    name : str
        What was given.
    known : iterable of str
        What would have been accepted.

    Returns
    -------
    str
        A sentence to append to an error message, with a leading space.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f" Did you mean {near[0]!r}?"
    # A list longer than a screen (600 timezones) would bury the message.
    return f" Known: {', '.join(names)}." if len(names) <= _LISTED_NAMES else ""
