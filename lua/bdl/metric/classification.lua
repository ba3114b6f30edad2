--- Losses of classes.  logits : [.., n] floats;  labels : probabilities [.., n], or classes [..], integers from 0.  One loss a sample.
local core = require "bdl.core"
local A = require "bdl.array"
local base = require "bdl.array.base"
local compile = require "bdl.compile"
local debug_ = require "bdl.debug"
local functional = require "bdl.functional"
local operand = require "bdl.metric.operand"

local M = {}

local float, integers = operand.float, operand.integers

local function sum_last(x) return A.sum(x, {axis = -1}) end

--- Labels are classes 0 .. classes - 1: an IndexError now, in compiled code a ValueError when it runs.
local function check_labels(who, labels, classes)
  if labels.size == 0 then return end
  local least, most = A.min(labels), A.max(labels)
  local bad = A.where(A.ge(most, classes), most, least)
  local text = ("metric.%s: the label %s is none of 0 to %d"):format(who, "%s", classes - 1)
  if core.is_traced(labels) then
    debug_.error_if(A.lt(bad, 0) | A.ge(bad, classes), text:format "{label}", {label = bad})
  elseif core.item(bad) < 0 or core.item(bad) >= classes then
    core.fail("IndexError", 4, text:format(core.item(bad)))
  end
end

--- logits[.., label].  Errors: ShapeError; IndexError, a label is no class.
local function pick(who, logits, labels)
  local lead = {table.unpack(logits.shape, 1, logits.ndim - 1)}
  labels = integers(who, "labels", labels)
  check_labels(who, labels, logits.shape[-1])
  labels = base.broadcast_to("metric." .. who, labels, lead)
  return A.squeeze(A.take_along_axis(logits, A.expand_dims(labels, -1), {axis = -1}), {axis = -1})
end

--- -y log s(x) - (1 - y) log(1 - s(x)),  s the logistic function; elementwise.
--  Example:
--    print(bdl.metric.sigmoid_binary_cross_entropy(bdl.tensor{-1., 2.}, bdl.tensor{0., 1.}))
function M.sigmoid_binary_cross_entropy(logits, labels)
  logits = float("sigmoid_binary_cross_entropy", "logits", logits)
  labels = core.cast(base.array(labels), logits.dtype)
  return -labels * functional.log_sigmoid(logits) - (1 - labels) * functional.log_sigmoid(-logits)
end

--- max(0, 1 - x y), y = -1 or 1; elementwise.
--  Example:
--    print(bdl.metric.hinge_loss(bdl.tensor{-0.5, 2.}, bdl.tensor{-1., 1.}))
function M.hinge_loss(predictions, targets) return A.maximum(1 - base.array(predictions) * targets, 0.0) end

--- max(0, -x y), y = -1 or 1; elementwise.
--  Example:
--    print(bdl.metric.perceptron_loss(bdl.tensor{-0.5, -2.}, bdl.tensor{-1., 1.}))
function M.perceptron_loss(predictions, targets)
  predictions, targets = base.array(predictions), base.array(targets)
  operand.same_shape("perceptron_loss", predictions, targets)
  return A.maximum(-predictions * targets, 0.0)
end

--- -sum y log softmax(x)
--  Example:
--    local logits, labels = bdl.tensor{{2., 1., 0.}, {0., 1., 3.}}, bdl.tensor{{1., 0., 0.}, {0., 0., 1.}}
--    print(bdl.metric.softmax_cross_entropy(logits, labels))
function M.softmax_cross_entropy(logits, labels)
  return -sum_last(labels * functional.log_softmax(float("softmax_cross_entropy", "logits", logits)))
end

--- -log softmax(x)[label]
--  Example:
--    local logits, labels = bdl.tensor{{2., 1., 0.}, {0., 1., 3.}}, bdl.tensor{0, 2}
--    print(bdl.metric.softmax_cross_entropy_with_integer_labels(logits, labels))
function M.softmax_cross_entropy_with_integer_labels(logits, labels)
  local who = "softmax_cross_entropy_with_integer_labels"
  logits = float(who, "logits", logits)
  return functional.logsumexp(logits, {axis = -1}) - pick(who, logits, labels)
end

--- max(x + 1 - onehot(label)) - x[label]
--  Example:
--    local logits, labels = bdl.tensor{{2., 1., 0.}, {0., 1., 3.}}, bdl.tensor{0, 2}
--    print(bdl.metric.multiclass_hinge_loss(logits, labels))
function M.multiclass_hinge_loss(scores, labels)
  scores = float("multiclass_hinge_loss", "scores", scores)
  local right = pick("multiclass_hinge_loss", scores, labels)
  return A.max(scores + 1 - functional.one_hot(labels, scores.shape[-1], {dtype = scores.dtype}), {axis = -1}) - right
end

--- max(x) - x[label]
--  Example:
--    local logits, labels = bdl.tensor{{2., 1., 0.}, {0., 1., 3.}}, bdl.tensor{0, 2}
--    print(bdl.metric.multiclass_perceptron_loss(logits, labels))
function M.multiclass_perceptron_loss(scores, labels)
  scores = float("multiclass_perceptron_loss", "scores", scores)
  return A.max(scores, {axis = -1}) - pick("multiclass_perceptron_loss", scores, labels)
end

--- Cross entropy + epsilon (1 - p of the class).  Options: epsilon (2.0).
--  Source: Leng et al. (2022), PolyLoss.
--  Example:
--    local logits, labels = bdl.tensor{{2., 1., 0.}, {0., 1., 3.}}, bdl.tensor{{1., 0., 0.}, {0., 0., 1.}}
--    print(bdl.metric.poly_loss_cross_entropy(logits, labels))
function M.poly_loss_cross_entropy(logits, labels, opts)
  opts = base.options("poly_loss_cross_entropy", opts, base.names "epsilon")
  return M.softmax_cross_entropy(logits, labels) + sum_last(labels * (1 - functional.softmax(logits))) * (opts.epsilon or 2.0)
end

--- sum y (log y - log p), given log p;  0 log 0 = 0.
--  Example:
--    local log_p, p = bdl.log_softmax(bdl.tensor{2., 1., 0.}), bdl.tensor{0.5, 0.3, 0.2}
--    print(bdl.metric.kl_divergence(log_p, p))
function M.kl_divergence(log_predictions, targets)
  log_predictions = float("kl_divergence", "predictions", log_predictions)
  targets = float("kl_divergence", "targets", targets)
  local zero = A.eq(targets, 0)
  return sum_last(targets * (A.where(zero, 0.0, A.log(A.where(zero, 1.0, targets))) - log_predictions))
end

--- The same, given log y; -inf is the logarithm of 0.
--  Example:
--    local log_p, p = bdl.log_softmax(bdl.tensor{2., 1., 0.}), bdl.tensor{0.5, 0.3, 0.2}
--    print(bdl.metric.kl_divergence_with_log_targets(log_p, bdl.log(p)))
function M.kl_divergence_with_log_targets(log_predictions, log_targets)
  log_predictions = float("kl_divergence_with_log_targets", "predictions", log_predictions)
  log_targets = float("kl_divergence_with_log_targets", "targets", log_targets)
  local zero = A.isneginf(log_targets)
  return sum_last(A.where(zero, 0.0, A.exp(log_targets) * (A.where(zero, 0.0, log_targets) - log_predictions)))
end

--- kl_divergence + sum (p - y): convex in both, for measures that do not sum to 1.
--  Example:
--    local log_p, p = bdl.log_softmax(bdl.tensor{2., 1., 0.}), bdl.tensor{0.5, 0.3, 0.2}
--    print(bdl.metric.convex_kl_divergence(log_p, p))
function M.convex_kl_divergence(log_predictions, targets)
  return M.kl_divergence(log_predictions, targets) + sum_last(A.exp(log_predictions) - targets)
end

--- Cross entropy (1 - p_t)^gamma, p_t the probability of the truth; weighted by alpha for 1 and 1 - alpha for 0.  Elementwise.
--  Options: alpha (none), gamma (2.0).  Source: Lin et al. (2017), Focal loss for dense object detection.
--  Example:
--    print(bdl.metric.sigmoid_focal_loss(bdl.tensor{-1., 2.}, bdl.tensor{0., 1.}, {alpha = 0.25}))
function M.sigmoid_focal_loss(logits, labels, opts)
  opts = base.options("sigmoid_focal_loss", opts, base.names "alpha gamma")
  logits = float("sigmoid_focal_loss", "logits", logits)
  labels = core.cast(base.array(labels), logits.dtype)
  local p = functional.sigmoid(logits)
  local right = p * labels + (1 - p) * (1 - labels)
  local loss = M.sigmoid_binary_cross_entropy(logits, labels) * core.pow(1 - right, opts.gamma or 2.0)
  if not opts.alpha or opts.alpha < 0 then return loss end
  return loss * (opts.alpha * labels + (1 - opts.alpha) * (1 - labels))
end

--- -log p[label]: [n] and a label, [b, n] and [b], or classes on axis 2: [b, n, ..] and [b, ..].
--  Example:
--    local logits, labels = bdl.tensor{{2., 1., 0.}, {0., 1., 3.}}, bdl.tensor{0, 2}
--    print(bdl.metric.nll_loss(bdl.log_softmax(logits), labels))
function M.nll_loss(log_probs, target)
  log_probs, target = float("nll_loss", "log_probs", log_probs), integers("nll_loss", "target", target)
  if log_probs.ndim ~= target.ndim + 1 then
    core.fail("ShapeError", 2, "metric.nll_loss: the target has an axis less than log_probs: %s, %s", base.text(target),
              base.text(log_probs))
  end
  return -pick("nll_loss", target.ndim < 2 and log_probs or A.moveaxis(log_probs, 2, -1), target)
end

--- (1 - alpha) y + alpha / n.  Errors: ValueError, alpha outside 0..1.
--  Example:
--    print(bdl.metric.smooth_labels(bdl.tensor{1., 0., 0.}, 0.1))
function M.smooth_labels(labels, alpha)
  labels = float("smooth_labels", "labels", labels)
  if not (alpha >= 0 and alpha <= 1) then
    core.fail("ValueError", 2, "metric.smooth_labels: alpha is within 0..1, not %s", tostring(alpha))
  end
  return (1 - alpha) * labels + alpha / labels.shape[-1]
end

--- Share of samples whose largest logit is that of the label, a scalar.  scores : [.., n], or predicted classes [..].
--  Example:
--    local logits, labels = bdl.tensor{{2., 1., 0.}, {0., 1., 3.}}, bdl.tensor{0, 2}
--    print(bdl.metric.accuracy(logits, labels))
function M.accuracy(scores, labels)
  scores, labels = base.array(scores), integers("accuracy", "labels", labels)
  if base.KIND[scores.dtype] == 2 then scores = A.argmax(scores, {axis = -1}) end
  operand.same_shape("accuracy", scores, labels)
  return A.mean(core.cast(A.eq(scores, labels), base.real()))
end

--- Softmax cross entropy of relevances, over lists.  Options: where (mask of the items that count), weights, reduction ("mean").
--  Source: Xia et al. (2008), Listwise approach to learning to rank.
--  Example:
--    print(bdl.metric.ranking_softmax_loss(bdl.tensor{2., 1., 0.}, bdl.tensor{2., 0., 1.}))
function M.ranking_softmax_loss(logits, labels, opts)
  opts = base.options("ranking_softmax_loss", opts, base.names "where weights reduction")
  logits = float("ranking_softmax_loss", "logits", logits)
  labels = core.cast(base.array(labels), logits.dtype)
  local mask, reduction = opts.where, opts.reduction or "mean"
  if mask then
    labels = A.where(mask, labels, 0.0)
    logits = A.where(mask, logits, -math.huge)
  end
  if opts.weights then labels = labels * opts.weights end
  local entropy = labels * functional.log_softmax(logits)
  local loss = -sum_last(mask and A.where(mask, entropy, 0.0) or entropy)
  if not mask then return operand.reduced("ranking_softmax_loss", loss, reduction) end
  local some = A.any(mask, {axis = -1})
  loss = A.where(some, loss, 0.0)
  if reduction ~= "mean" then return operand.reduced("ranking_softmax_loss", loss, reduction) end
  return A.sum(loss) / A.maximum(A.sum(core.cast(some, loss.dtype)), 1.0)
end

--- The loss max_fun(x) - <y, x> of a function of vectors whose gradient is the prediction.
--  Source: Blondel, Martins & Niculae (2020), Learning with Fenchel-Young losses.
--  Example:
--    local loss = bdl.metric.make_fenchel_young_loss(function(x) return bdl.logsumexp(x, {axis = -1}) end)
--    print(loss(bdl.tensor{2., 1., 0.}, bdl.tensor{1., 0., 0.}))
function M.make_fenchel_young_loss(max_fun)
  return function(scores, targets, ...)
    scores = float("make_fenchel_young_loss", "scores", scores)
    local args, lead = table.pack(...), {table.unpack(scores.shape, 1, scores.ndim - 1)}
    local rows = A.reshape(scores, {-1, scores.shape[-1]})
    local best = require "bdl.augment.vmap".vmap(function(row) return max_fun(row, table.unpack(args, 1, args.n)) end)(rows)
    return A.reshape(best, lead) - sum_last(targets * scores)
  end
end

-- ---- connectionist temporal classification -----------------------------------------------------------------------------------

--- Losses [b] and the log probabilities of prefixes that end in a blank [T, b, n + 1] and in a label [T, b, n].
--  logits [b, T, k];  logit_paddings [b, T], label_paddings [b, n]: 1 where there is nothing;  labels [b, n].
--  Options: blank_id (0, a class), log_epsilon (-1e5).
--  Source: Graves et al. (2006), Connectionist temporal classification.
--  Example:
--    local logits, labels = bdl.random.randn(1, 5, 4), bdl.tensor{{1, 2}}
--    print(bdl.metric.ctc_loss_with_forward_probs(logits, bdl.zeros(1, 5), labels, bdl.zeros(1, 2)))
function M.ctc_loss_with_forward_probs(logits, logit_paddings, labels, label_paddings, opts)
  opts = base.options("ctc_loss", opts, base.names "blank_id log_epsilon")
  logits, labels = float("ctc_loss", "logits", logits), integers("ctc_loss", "labels", labels)
  local blank, never = opts.blank_id or 0, opts.log_epsilon or -1e5
  if logits.ndim ~= 3 or labels.ndim ~= 2 or logits.shape[1] ~= labels.shape[1] then
    core.fail("ShapeError", 2, "metric.ctc_loss: logits [b, T, k] and labels [b, n] are needed, not %s and %s", base.text(logits),
              base.text(labels))
  end
  check_labels("ctc_loss", labels, logits.shape[3])
  local b, n = labels.shape[1], labels.shape[2]
  label_paddings, logit_paddings = base.float(label_paddings), base.float(logit_paddings)
  operand.same_shape("ctc_loss", label_paddings, labels)
  local log_p = functional.log_softmax(logits)
  local lengths = core.cast(n - A.sum(label_paddings, {axis = 2}), "int32")
  local again = core.cast(A.eq(base.slice_axis(labels, 1, 0, n - 1), base.slice_axis(labels, 1, 1, n)), log_p.dtype)
  again = A.pad(again, {{0, 0}, {0, 1}})
  local p_blank = A.moveaxis(base.slice_axis(log_p, 2, blank, blank + 1), 2, 1)
  local each_step = A.broadcast_to(A.expand_dims(labels, 2), {b, logits.shape[2], n})
  local p_label = A.moveaxis(A.take_along_axis(log_p, each_step, {axis = 3}), 2, 1)

  local function add(phi, score)
    return base.concatenate({base.slice_axis(phi, 1, 0, 1), A.logaddexp(base.slice_axis(phi, 1, 1, n + 1), score)}, 1)
  end
  local function step(phi, emit, label, blank_now, pad)
    local phi_now = add(phi, emit + never * again)
    local next_emit = A.logaddexp(base.slice_axis(phi_now, 1, 0, n) + label, emit + label)
    local next_phi = add(phi_now + blank_now, emit + blank_now + never * (1 - again))
    pad = A.expand_dims(pad, 2)
    return pad * phi + (1 - pad) * next_phi, pad * emit + (1 - pad) * next_emit
  end
  local none_yet = core.cast(A.full({b, n}, never), log_p.dtype)
  local start = base.concatenate({core.cast(A.zeros(b, 1), log_p.dtype), none_yet}, 1)
  local _, phis, emits = compile.scan(function(carry, xs)
    local phi, emit = step(carry[1], carry[2], xs[1], xs[2], xs[3])
    return {phi, emit}, phi, emit
  end, {start, none_yet}, {p_label, p_blank, A.transpose(logit_paddings)})
  local last = add(phis[-1], emits[-1])
  phis = phis:set(-1, last)
  return -A.squeeze(A.take_along_axis(last, A.expand_dims(lengths, 2), {axis = 2}), {axis = 2}), phis, emits
end

--- Losses [b] of all alignments of labels to logits, as above.
--  Example:
--    local logits, labels = bdl.random.randn(1, 5, 4), bdl.tensor{{1, 2}}
--    print(bdl.metric.ctc_loss(logits, bdl.zeros(1, 5), labels, bdl.zeros(1, 2)))
function M.ctc_loss(...) return (M.ctc_loss_with_forward_probs(...)) end

return M
