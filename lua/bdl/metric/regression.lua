--- Losses of values.  Units go through:  the squared error of mV is in mV^2.
--  Options of all that have them: axis (all), reduction ("none", "mean", "sum").
--  Example:
--    print(bdl.metric.NAME(bdl.tensor{1., 2.}, bdl.tensor{1., 4.}))
local A = require "bdl.array"
local base = require "bdl.array.base"
local class = require "bdl.class"
local args = require "bdl.args"
local functional = require "bdl.functional"
local operand = require "bdl.metric.operand"

local M = {}

local float = operand.float

--- predictions - targets, or predictions alone.
local function errors(who, predictions, targets, broadcasts)
  predictions = float(who, "predictions", predictions)
  if targets == nil then return predictions end
  targets = base.array(targets)
  if not broadcasts then operand.same_shape(who, predictions, targets) end
  return predictions - targets
end

--- Options of a call f(predictions, targets, opts) or f(predictions, opts).
local function arguments(who, targets, opts, known)
  if opts == nil and base.is_options(targets) then targets, opts = nil, targets end
  return targets, base.options(who, opts, known)
end

--- M[name](predictions, targets, opts) = f(errors, opts), reduced.
local function define(name, default, f, more, broadcasts)
  local known = base.names("axis reduction " .. (more or ""))
  M[name] = function(predictions, targets, opts)
    targets, opts = arguments(name, targets, opts, known)
    return operand.reduced(name, f(errors(name, predictions, targets, broadcasts), opts), opts.reduction or default, opts.axis)
  end
end

--- Squares of the errors:  (x - y)^2
define("squared_error", "none", function(e) return e * e end)

--- |x - y|, by default its mean.
define("absolute_error", "mean", function(e) return A.abs(e) end)

--- (x - y)^2 / 2
define("l2_loss", "none", function(e) return 0.5 * (e * e) end)

--- e^2 / 2 up to |e| = delta, beyond it delta (|e| - delta / 2).  Options: delta (1.0).
--  Source: Huber (1964), Robust estimation of a location parameter.
define("huber_loss", "none", function(e, opts)
  local delta = opts.delta or 1.0
  local size = A.abs(e)
  local inner = A.minimum(size, delta)
  return 0.5 * (inner * inner) + delta * (size - inner)
end, "delta", true)

--- log cosh(x - y), without overflow.
define("log_cosh", "none", function(e)
  local size = A.abs(e)
  return size + functional.softplus(-2 * size) - math.log(2)
end, nil, true)

--- Mean |x - y| of each sample (first axis).  Options: reduction ("mean") over the samples.
function M.l1_loss(logits, targets, opts)
  opts = base.options("l1_loss", opts, base.names "reduction")
  local e = A.abs(base.array(logits) - targets)
  if e.ndim == 0 then e = A.reshape(e, {1}) end
  return operand.reduced("l1_loss", A.mean(A.reshape(e, {e.shape[1], -1}), {axis = 2}), opts.reduction or "mean")
end

--- l1_loss as an object.
--  reduction : "none", "mean" or "sum"
--  Example:
--    local loss = bdl.metric.L1Loss("sum")
--    print(loss(bdl.tensor{1., 2.}, bdl.tensor{1., 4.}))
local L1Loss = class "L1Loss"
M.L1Loss = L1Loss
function L1Loss:__init(...) self.reduction = args({"reduction", reduction = "mean"}, ...).reduction end
function L1Loss:update(input, target) return M.l1_loss(input, target, {reduction = self.reduction}) end
L1Loss.__call = L1Loss.update

--- Euclidean norm of x - y, of all entries or along an axis.  Options: axis.
function M.l2_norm(predictions, targets, opts)
  targets, opts = arguments("l2_norm", targets, opts, base.names "axis")
  return A.norm(errors("l2_norm", predictions, targets), {axis = opts.axis})
end

--- The norm, but min_norm where it is smaller, without a gradient there.  Options: ord, axis, keepdims.
--  Example:
--    print(bdl.metric.safe_norm(bdl.tensor{3., 4.}, 1e-6))
function M.safe_norm(x, min_norm, opts)
  opts = base.options("safe_norm", opts, base.names "ord axis keepdims")
  x = float("safe_norm", "values", x)
  local small = A.le(A.norm(x, {ord = opts.ord, axis = opts.axis, keepdims = true}), min_norm)
  local norm = A.norm(A.where(small, 1.0, x), {ord = opts.ord, axis = opts.axis, keepdims = true})
  local safe = A.where(small, min_norm, norm)
  if opts.keepdims then return safe end
  return A.squeeze(safe, {axis = opts.axis})
end

--- <x, y> / (|x| |y|) over the last axis, norms at least epsilon.  Options: epsilon (1e-8).
function M.cosine_similarity(predictions, targets, opts)
  opts = base.options("cosine_similarity", opts, base.names "epsilon")
  local function unit(what, x)
    x = float("cosine_similarity", what, x)
    return x / M.safe_norm(x, opts.epsilon or 1e-8, {axis = -1, keepdims = true})
  end
  return A.sum(unit("predictions", predictions) * unit("targets", targets), {axis = -1})
end

--- 1 - cosine_similarity
function M.cosine_distance(predictions, targets, opts) return 1 - M.cosine_similarity(predictions, targets, opts) end

--- Similarities of all rows of X with all rows of Y (X).  [n, d], [m, d] -> [n, m].  Options: eps (1e-8).
--  Example:
--    print(bdl.metric.pairwise_cosine_similarity(bdl.random.randn(3, 2), bdl.random.randn(4, 2)))
function M.pairwise_cosine_similarity(X, Y, opts)
  Y, opts = arguments("pairwise_cosine_similarity", Y, opts, base.names "eps")
  local function unit(x)
    local square = A.sum(x * x, {axis = -1, keepdims = true})
    local zero = A.eq(square, 0)
    local norm = A.where(zero, 0.0, A.sqrt(A.where(zero, 1.0, square)))
    return x, A.maximum(norm, opts.eps or 1e-8)
  end
  local x, nx = unit(operand.plain("pairwise_cosine_similarity", "rows", X, 2))
  local y, ny = x, nx
  if Y ~= nil then y, ny = unit(operand.plain("pairwise_cosine_similarity", "rows", Y, 2)) end
  return A.matmul(x, A.transpose(y)) / A.matmul(nx, A.transpose(ny))
end

--- 1 - pairwise_cosine_similarity
--  Example:
--    print(bdl.metric.pairwise_cosine_distance(bdl.random.randn(3, 2)))
function M.pairwise_cosine_distance(X, Y, opts) return 1 - M.pairwise_cosine_similarity(X, Y, opts) end

return M
