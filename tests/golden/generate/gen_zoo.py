"""Reference numbers for members of the model zoo that no other case has: tests/golden/zoo.

    python gen_zoo.py --out ../zoo

A row is one expression, evaluated by Python here and, translated, by areas/zoo.lua: keywords become a last table, axes
count from 1; or a pair of expressions, where the two are not called alike.  Names: nn (layers, neurons, synapses), F
(functions), metric, random, init, input, quad, u (units), the arrays of the case, and the functions below, which
areas/zoo.lua has too.  Every row begins with seed 3.
"""

import argparse
import ast
import inspect
import os
import types
import warnings

warnings.filterwarnings('ignore')
os.environ.setdefault('JAX_PLATFORMS', 'cpu')
import jax

jax.config.update('jax_enable_x64', True)
import jax.numpy as jnp
import numpy as np
import brainpy
import brainstate
import braintools
import braintrace
import brainunit as u

brainstate.environ.set(precision=64)

# ---- names of the expressions -------------------------------------------------------------------------------------


class Names:
    def __init__(self, *modules):
        self.modules = modules

    def __getattr__(self, name):
        for m in self.modules:
            if hasattr(m, name):
                return getattr(m, name)
        raise AttributeError(name)


def fill(model):
    """Parameters in the order of their paths get 0.4 sin(1.3 i + k)."""
    k = 0
    states = {'.'.join(map(str, p)): s for p, s in brainstate.graph.states(model, brainstate.ParamState).items()}
    for path in sorted(states):
        value = states[path].value
        leaves, tree = jax.tree.flatten(value, is_leaf=u.math.is_quantity)
        new = []
        for leaf in leaves:
            m = u.get_mantissa(leaf)
            x = 0.4 * jnp.sin(1.3 * jnp.arange(m.size) + k).reshape(m.shape)
            new.append(x * u.get_unit(leaf) if isinstance(leaf, u.Quantity) else x)
            k += 1
        states[path].value = jax.tree.unflatten(tree, new)
    return model


def run(model, *xs):
    """Outputs of a step for each row of xs, at t = i dt."""
    brainstate.nn.init_all_states(model)
    dt = brainstate.environ.get('dt', None)

    def step(i, *x):
        times = dict(i=i) if dt is None else dict(i=i, t=i * dt)
        with brainstate.environ.context(**times):
            return model(*x)

    n = xs[0].shape[0] if xs else 40
    return brainstate.transform.for_loop(step, jnp.arange(n), *xs)


def train(model, *xs):
    with brainstate.environ.context(fit=True):
        return model(*xs)


def grad(f, x):
    """Of the sum of f(x)."""
    return jax.grad(lambda z: jnp.sum(f(z)))(x)


MODULES = {'nn', 'F', 'metric', 'u', 'random', 'init', 'input', 'quad'}
ENV = dict(
    nn=Names(brainstate.nn, brainpy.state, braintrace.nn),
    F=Names(brainstate.nn),
    metric=Names(braintools.metric),
    u=u,
    random=brainstate.random,
    init=braintools.init,
    input=braintools.input,
    quad=braintools.quad,
    fill=fill,
    run=run,
    train=train,
    grad=grad,
)

# ---- Python to Lua ------------------------------------------------------------------------------------------------

OPS = {ast.Add: '+', ast.Sub: '-', ast.Mult: '*', ast.Div: '/', ast.Pow: '^', ast.MatMult: '@'}
AXES = {'axis', 'start_axis', 'end_axis', 'channel_axis', 'feature_axis'}


def lua(node):
    if isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            return 'true' if node.value else 'false'
        return (
            'bdl.none'
            if node.value is None
            else "'%s'" % node.value if isinstance(node.value, str) else repr(node.value)
        )
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, (ast.Tuple, ast.List)):
        return '{' + ', '.join(map(lua, node.elts)) + '}'
    if isinstance(node, ast.UnaryOp):
        return '-' + lua(node.operand)
    if isinstance(node, ast.BinOp):
        return '(%s %s %s)' % (lua(node.left), OPS[type(node.op)], lua(node.right))
    if isinstance(node, ast.Attribute):
        return lua(node.value) + '.' + node.attr
    if isinstance(node, ast.Subscript):
        return '%s[%d]' % (lua(node.value), node.slice.value + 1)
    if isinstance(node, ast.Lambda):
        return 'function(%s) return %s end' % (', '.join(a.arg for a in node.args.args), lua(node.body))
    if isinstance(node, ast.Call):
        args = [lua(a) for a in node.args]
        of_module = isinstance(node.func, ast.Attribute) and lua(node.func.value) in MODULES
        if of_module and len(args) == 1 and args[0][0] == '{' and not node.keywords:
            args = ['{%s}' % args[0]]  # a list alone would be the arguments
        named = []
        for k in node.keywords:
            v = lua(k.value)
            if k.arg in AXES and not v.startswith('-'):
                v = str(int(v) + 1)
            named.append('%s = %s' % (k.arg, v))
        if named:
            args.append('{' + ', '.join(named) + '}')
        f = lua(node.func)
        if isinstance(node.func, ast.Attribute) and not of_module:
            f = lua(node.func.value) + ':' + node.func.attr
        return '%s(%s)' % (f, ', '.join(args))
    raise TypeError(ast.dump(node))


# ---- files --------------------------------------------------------------------------------------------------------


def number(x):
    if isinstance(x, (bool, np.bool_)):
        return 'true' if x else 'false'
    if isinstance(x, (int, np.integer)):
        return str(int(x))
    x = float(x)
    if np.isnan(x):
        return '0/0'
    if np.isinf(x):
        return 'math.huge' if x > 0 else '-math.huge'
    return repr(x)


def quantity(x):
    if not isinstance(x, u.Quantity):
        return repr(x)
    return '{ value = %r, unit = "%s" }' % (float(u.get_mantissa(x)), u.get_unit(x))


def array(x):
    unit = None
    if isinstance(x, (u.Quantity, u.Unit)):
        unit, x = str(u.get_unit(x)), u.get_mantissa(x)
        unit = None if unit == '1' else unit
    x = np.asarray(x)
    if np.issubdtype(x.dtype, np.floating):
        dtype = 'f64'
    else:
        dtype = 'bool' if x.dtype == np.bool_ else 'i32'
    head = 'shape={%s}, dtype="%s"' % (','.join(map(str, x.shape)), dtype)
    if unit:
        head += ', unit="%s"' % unit
    lines, line = [], ''
    for word in [number(v) + ',' for v in x.reshape(-1)]:
        if len(line) + len(word) > 110:
            lines.append(line)
            line = ''
        line += word + ' '
    lines.append(line.rstrip())
    body = '\n      '.join(lines)
    return '{ %s, data={ %s } }' % (head, body)


def flat(value):
    """A result's arrays: a tuple's one by one."""
    if isinstance(value, (tuple, list)):
        return [x for v in value for x in flat(v)]
    if isinstance(value, dict):
        return [x for k in sorted(value) for x in flat(value[k])]
    return [value]


def write(out, name, about, inputs, rows, tolerance=None, dt=None):
    env = dict(ENV, **inputs)
    texts, arrays = [], []
    context = dict(fit=False) if dt is None else dict(fit=False, dt=dt)
    for row in rows:
        row, text = row if isinstance(row, tuple) else (row, lua(ast.parse(row, mode='eval').body))
        k = len(texts) + 1
        brainstate.random.seed(3)
        with brainstate.environ.context(**context):
            try:
                results = flat(eval(row, env))
            except Exception as e:
                print('--', row, type(e).__name__, str(e)[:150])
                continue
        texts.append('    { "%s", "%s", %d },' % (row, text, len(results)))
        for j, r in enumerate(results, 1):
            arrays.append('    ["%d.%d"] = %s,' % (k, j, array(r)))
    with open(os.path.join(out, name + '.lua'), 'w') as f:
        f.write('return {\n  about = "%s",\n' % about)
        f.write('  source = "brainstate 0.5.4, brainpy_state 0.1.0, braintools 0.3.0, braintrace 0.2.6",\n')
        f.write('  precision = "float64",\n')
        if tolerance:
            f.write('  tolerance = { rtol = %g, atol = %g },\n' % tolerance)
        f.write('  params = {\n' + ('    dt = %s,\n' % quantity(dt) if dt is not None else ''))
        f.write('\n'.join(texts) + '\n  },\n  arrays = {\n')
        for key, x in inputs.items():
            f.write('    %s = %s,\n' % (key, array(x)))
        f.write('\n'.join(arrays) + '\n  },\n}\n')
    print(name, len(rows))


def default(x):
    """A default as Lua; None for what has no counterpart there."""
    if isinstance(x, (bool, int, float)) and not (isinstance(x, float) and np.isinf(x)):
        return number(x)
    if isinstance(x, str):
        return '"%s"' % x
    if isinstance(x, u.Quantity) and np.ndim(u.get_mantissa(x)) == 0:
        return quantity(x)
    return None


def write_defaults(out, modules):
    """Class -> defaults of the arguments of its constructor."""
    lines, seen = [], set()
    for area, module in modules:
        for name in dir(module):
            cls = getattr(module, name)
            if name.startswith('_') or not isinstance(cls, type) or (area, name) in seen:
                continue
            seen.add((area, name))
            try:
                parameters = inspect.signature(cls.__init__).parameters.values()
            except ValueError:
                continue
            found = ['%s = %s' % (p.name, default(p.default)) for p in parameters if default(p.default) is not None]
            if found:
                lines.append('    ["%s.%s"] = { %s },' % (area, name, ', '.join(found)))
    with open(os.path.join(out, 'defaults.lua'), 'w') as f:
        f.write('return {\n  about = "Defaults of the arguments of constructors.",\n')
        f.write('  source = "brainstate 0.5.4, brainpy_state 0.1.0, braintools 0.3.0, braintrace 0.2.6",\n')
        f.write('  precision = "float64",\n  params = {\n' + '\n'.join(lines) + '\n  },\n  arrays = {},\n}\n')
    print('defaults', len(lines))


def wave(*shape, w=1.7, k=0.3):
    """Numbers without ties from -1 to 1."""
    return jnp.sin(w * jnp.arange(int(np.prod(shape))) + k).reshape(shape)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--out', required=True)
    parser.add_argument('--only', default='')
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    import zoo_cases

    for name, case in zoo_cases.CASES.items():
        if args.only in name:
            write(args.out, name, **case(types.SimpleNamespace(wave=wave, u=u, jnp=jnp, np=np)))
    if args.only in 'defaults':
        write_defaults(
            args.out,
            [
                ('nn', brainpy.state),
                ('nn', brainstate.nn),
                ('nn', braintrace.nn),
                ('optim', braintools.optim),
                ('surrogate', braintools.surrogate),
                ('init', braintools.init),
            ],
        )


if __name__ == '__main__':
    main()
