"""What the engine says on a run's page and in the launch form, made known to `models_registry.sayings`.

The engine is a command line tool and speaks English; here stand its sentences with something filled in, and the single
words that pages show. Names, units and help of its options need no list: a test takes them from the options themselves.
"""

from __future__ import annotations

from django.utils.translation import gettext_noop

from models_registry.sayings import saying

PHASES = (
    saying(gettext_noop("%(phase)s %(done)d/%(total)d")),
    gettext_noop("loading model"),
    gettext_noop("training"),
    gettext_noop("evaluating"),
    gettext_noop("sampling"),
    gettext_noop("sampling the policy"),
    gettext_noop("normalising"),
    gettext_noop("reference log-probs"),
    gettext_noop("saving"),
)
SPEAKERS = (gettext_noop("system"), gettext_noop("user"), gettext_noop("assistant"))
LENGTHS = (gettext_noop("longer"), gettext_noop("about equal"), gettext_noop("shorter"))
WARNINGS = (
    gettext_noop("The run was interrupted before its first checkpoint: it begins again."),
    saying(gettext_noop("Damaged checkpoints (%(names)s): the run goes on from step %(n)d.")),
    gettext_noop("there is only one pair to train on: it will be learned by heart"),
    gettext_noop("no pair is held out: nothing can be measured on pairs that were not seen"),
    saying(gettext_noop("%(n)d of %(rows)d %(name)s rows were cut to max_length %(length)d")),
    saying(gettext_noop("%(n)d %(name)s rows were left out: their responses are empty")),
    gettext_noop("No prompt is held out: the evaluation uses training prompts."),
    saying(gettext_noop("%(n)d of %(prompts)d prompts are too long and lost their beginning.")),
    gettext_noop("The reward model has no stored mean and std: its scores are used as they are."),
    gettext_noop("The reward model has another tokenizer, template or form: it reads answers as text."),
    saying(
        gettext_noop(
            "The KL to the reference reached %(kl)s nats per answer, above max_kl (%(bound)s): training ended, "
            "and the policy of iteration %(n)d is kept, which was below."
        )
    ),
    gettext_noop(
        "A tiny model built on this machine, with hardly any training: it shows that the parts work, "
        "its answers are noise."
    ),
)
ENDS = (
    saying(
        gettext_noop("the loss of step %(n)d (%(batch)s) is not finite; lower the learning rate or use fp32"),
    ),
    saying(gettext_noop("the model in %(folder)s cannot be loaded: %(why)s")),
    saying(gettext_noop("out of memory: %(advice)s")),
)
REFUSALS = (
    gettext_noop("must be a number"),
    gettext_noop("must be a whole number"),
    gettext_noop("must be finite"),
    gettext_noop("must be text"),
    saying(gettext_noop("must be at least %(bound)s")),
    saying(gettext_noop("must be at most %(bound)s")),
    saying(gettext_noop("must be one of %(names)s")),
    gettext_noop("counts evaluations between the steps; set eval_every, or set it to 0"),
    gettext_noop("must be below 0.5: at 0.5 a vote says nothing, and there is nothing to learn"),
    gettext_noop("robust needs the share of flipped votes; without one it is sigmoid"),
    gettext_noop("ipo knows no flipped votes; choose sigmoid or robust, or set it to 0"),
    saying(gettext_noop("%(loss)s knows no offset from strength; choose sigmoid, or set it to 0")),
)
