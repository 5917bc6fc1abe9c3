"""The one place that calls autograd: scores of a class and their gradients with respect to inputs.

Nothing here touches parameter gradients, training modes or the global random state.
"""

from surefoot.gradients._autograd import (
    gradient_and_logits as gradient_and_logits,
    input_gradient as input_gradient,
    logits_and_gradients as logits_and_gradients,
    logits_and_jacobian as logits_and_jacobian,
    mean_gradient as mean_gradient,
    sum_blocks as sum_blocks,
    value_and_gradient as value_and_gradient,
)
from surefoot.gradients._calls import (
    arranged as arranged,
    check_call as check_call,
    further_names as further_names,
)
from surefoot.gradients._door import (
    Door as Door,
    OneOf as OneOf,
    check_score as check_score,
    is_flat as is_flat,
)
from surefoot.gradients._faults import (
    ModelError as ModelError,
    keeping as keeping,
    translated as translated,
)
from surefoot.gradients._query import (
    Inputs as Inputs,
    Query as Query,
    Target as Target,
    companions as companions,
    numbered as numbered,
    ordinary as ordinary,
    query as query,
)
from surefoot.gradients._run import (
    are_independent as are_independent,
    forward as forward,
    has_one_output as has_one_output,
    predict as predict,
    run as run,
)
from surefoot.gradients._scores import (
    Score as Score,
    all_scores as all_scores,
    class_scores as class_scores,
    single as single,
    warn_of_softmax as warn_of_softmax,
)
