"""The rows of gen_zoo.py by file: what members do to the arrays given."""


def activations(k):
    rows = [
        'nn.%s()(2.0 * x)' % n
        for n in (
            'ReLU ReLU6 Sigmoid Tanh SiLU Mish SELU GELU LogSigmoid Softsign Tanhshrink Softmin Softmax '
            'LogSoftmax Softplus '
            'Hardsigmoid Hardswish Hardtanh Hardshrink Softshrink ELU CELU LeakyReLU GLU'
        ).split()
    ]
    rows = [r.replace('GLU()(2.0 * x)', 'GLU()(x)') for r in rows]
    rows += [
        'nn.ELU(alpha=0.7)(x)',
        'nn.CELU(alpha=1.6)(x)',
        'nn.LeakyReLU(0.2)(x)',
        'nn.Hardtanh(-0.3, 0.6)(x)',
        'nn.Hardshrink(0.2)(x)',
        'nn.Softshrink(0.2)(x)',
        'nn.Threshold(0.1, 20.0)(x)',
        'nn.Softmax2d()(img)',
        'nn.PReLU()(x)',
        'nn.PReLU(4, init=0.1)(x)',
        'nn.RReLU()(x)',
        'nn.Identity()(x)',
        'F.one_hot(labels, 5)',
    ]
    rows += ['grad(nn.%s(), x)' % n for n in 'SELU GELU Mish Hardswish LogSigmoid Softsign Tanhshrink'.split()]
    return dict(
        about='Activations as layers, and some of their slopes.',
        inputs=dict(x=k.wave(3, 4), img=k.wave(2, 2, 3), labels=k.jnp.asarray([0, 4, 2])),
        rows=rows,
    )


def padding(k):
    rows = []
    for d, x in ((1, 'a'), (2, 'b'), (3, 'c')):
        for kind in ('Zero', 'Reflection', 'Replication', 'Circular'):
            rows.append('nn.%sPad%dd(1)(%s)' % (kind, d, x))
        rows.append('nn.ConstantPad%dd(1, 0.5)(%s)' % (d, x))
    rows += ['nn.ReflectionPad1d((2, 1))(a)', 'nn.ZeroPad2d((0, 1, 2, 1))(b)']
    return dict(
        about='Padding; channels last.',
        inputs=dict(a=k.wave(1, 4, 2), b=k.wave(1, 3, 3, 2), c=k.wave(1, 2, 3, 2, 1)),
        rows=rows,
    )


def pooling(k):
    rows = [
        'nn.AvgPool3d(2)(c)',
        'nn.MaxPool3d(2)(c)',
        'nn.AdaptiveAvgPool2d((2, 2))(b)',
        'nn.AdaptiveAvgPool3d((1, 2, 2))(c)',
        'nn.AdaptiveMaxPool1d(3)(a)',
        'nn.AdaptiveMaxPool3d((2, 1, 2))(c)',
        'nn.LPPool1d(2.0, 2)(a)',
        'nn.LPPool2d(3.0, 2)(b + 2.0)',
        'nn.LPPool3d(2.0, 2)(c)',
        'nn.MaxPool1d(2, stride=2, return_indices=True)(a)',
        'nn.MaxUnpool1d(2, stride=2)(nn.MaxPool1d(2, stride=2)(a), i1)',
        'nn.MaxUnpool2d(2, stride=2)(nn.MaxPool2d(2, stride=2)(b), i2)',
        'nn.MaxUnpool3d(2, stride=2)(nn.MaxPool3d(2, stride=2)(c), i3)',
    ]
    nn = __import__('brainstate').nn
    a, b, c = k.wave(1, 6, 2), k.wave(1, 4, 4, 2), k.wave(1, 4, 4, 4, 1)
    ids = [
        cls(2, stride=2, return_indices=True)(x)[1]
        for cls, x in ((nn.MaxPool1d, a), (nn.MaxPool2d, b), (nn.MaxPool3d, c))
    ]
    return dict(about='Pooling; channels last.', inputs=dict(a=a, b=b, c=c, i1=ids[0], i2=ids[1], i3=ids[2]), rows=rows)


def convolution(k):
    rows = [
        'fill(nn.Conv3d((3, 3, 3, 2), 2, 2))(c)',
        'fill(nn.ConvTranspose1d((5, 2), 3, 3))(a)',
        'fill(nn.ConvTranspose1d((5, 2), 3, 3, stride=2))(a)',
        'fill(nn.ConvTranspose2d((3, 3, 2), 2, 3, stride=2))(b)',
        'fill(nn.ConvTranspose3d((3, 3, 3, 2), 2, 2, stride=2))(c)',
        'fill(nn.ScaledWSConv1d((5, 2), 3, 3))(a)',
        'fill(nn.ScaledWSConv2d((3, 3, 2), 2, 2))(b)',
        'fill(nn.ScaledWSConv3d((3, 3, 3, 2), 2, 2))(c)',
        'fill(nn.BatchNorm3d((3, 3, 3, 2)))(c)',
        'train(fill(nn.BatchNorm3d((3, 3, 3, 2))), c)',
    ]
    return dict(
        about='Convolutions and norms with given parameters; channels last.',
        inputs=dict(a=k.wave(2, 5, 2), b=k.wave(1, 3, 3, 2), c=k.wave(1, 3, 3, 3, 2)),
        rows=rows,
    )


def dropout(k):
    rows = [
        'train(nn.Dropout(0.6), x)',
        'train(nn.Dropout1d(0.5), x)',
        'train(nn.Dropout2d(0.5), img)',
        'train(nn.Dropout3d(0.5), vol)',
        'train(nn.AlphaDropout(0.6), x)',
        'train(nn.FeatureAlphaDropout(0.5), img)',
        'nn.Dropout(0.6)(x)',
        'nn.AlphaDropout(0.6)(x)',
        'train(run, nn.DropoutFixed((4,), 0.5), x)',
    ]
    return dict(
        about='Dropouts: the same draws from the same key.',
        inputs=dict(x=k.wave(6, 4), img=k.wave(2, 3, 3, 4), vol=k.wave(1, 2, 2, 2, 6)),
        rows=rows,
    )


def transforms(k):
    rows = []
    for t in (
        'SigmoidT(-1.0, 2.0)',
        'ScaledSigmoidT(-1.0, 2.0, 1.5)',
        'TanhT(-1.0, 2.0)',
        'SoftsignT(-1.0, 2.0)',
        'SoftplusT(0.2)',
        'NegSoftplusT(0.2)',
        'LogT(0.1)',
        'ExpT(0.1)',
        'PositiveT()',
        'NegativeT()',
        'AffineT(2.0, 0.5)',
        'IdentityT()',
        'PowerT(0.5)',
        'OrderedT()',
        'SimplexT()',
        'UnitVectorT()',
        'ClipT(-0.5, 0.5)',
        'ReluT(0.2)',
    ):
        x = 'p' if t[:5] in ('Power', 'LogT(') else 'x'
        rows.append('nn.%s.forward(%s)' % (t, x))
        if t.split('(')[0] not in ('ClipT', 'ReluT', 'UnitVectorT', 'LogT', 'PowerT'):
            rows.append('nn.%s.inverse(nn.%s.forward(%s))' % (t, t, x))
    rows += [
        'nn.LogT(0.1).inverse(p)',
        'nn.ChainT(nn.ExpT(0.1), nn.AffineT(2.0, 0.5)).forward(x)',
        'nn.MaskedT(mask, nn.ExpT(0.1)).forward(x)',
    ]
    return dict(
        about='Transformations of parameters and their inverses.',
        inputs=dict(x=k.wave(5), p=1.2 + k.wave(5), mask=k.jnp.asarray([True, False, True, True, False])),
        rows=rows,
    )


def regularization(k):
    one = (
        'L1Reg(0.3) L2Reg(0.3) ElasticNetReg(0.3,0.2) HuberReg(0.3,0.5) GroupLassoReg(0.3) TotalVariationReg(0.3) '
        'MaxNormReg(0.3,0.8) OrthogonalReg(0.3) SpectralNormReg(0.3,0.7) GaussianReg(0.1,0.8) StudentTReg(0.3) '
        'CauchyReg(0.3,0.7) UniformReg(0.3,-0.5,0.5) HorseshoeReg(0.3) SpikeAndSlabReg(0.3)'
    ).split()
    pos = (
        'LogNormalReg(0.3) GammaReg(0.3) ExponentialReg(0.3) InverseGammaReg(0.3) LogUniformReg(0.3) EntropyReg(0.3) '
        'DirichletReg(0.3)'
    ).split()
    rows = ['nn.%s.loss(w)' % r.replace(',', ', ') for r in one] + ['nn.%s.loss(p)' % r for r in pos]
    rows += [
        'nn.BetaReg(0.3).loss(q)',
        'nn.ChainedReg(nn.L1Reg(0.3), nn.L2Reg(0.2)).loss(w)',
        'nn.TotalVariationReg(0.3, 2).loss(w)',
    ]
    return dict(
        about='Regularisers of given weights.',
        inputs=dict(w=k.wave(4, 3), p=1.2 + k.wave(4, 3), q=0.5 + 0.4 * k.wave(4, 3)),
        rows=rows,
    )


def rnn_cells(k):
    rows = ['run(fill(nn.%s(2, 3)), x)' % n for n in 'MinimalRNNCell MiniGRU MiniLSTM CFNCell LRUCell'.split()]
    return dict(
        about='Cells of braintrace with given parameters over a sequence.', inputs=dict(x=k.wave(6, 2)), rows=rows
    )


def readouts(k):
    u = k.u
    rows = ['run(fill(nn.LeakyRateReadout(3, 2, tau=5.0 * u.ms)), s)']
    return dict(
        about='Readouts with given weights.', inputs=dict(s=(k.wave(30, 3) > 0.2) * 1.0), rows=rows, dt=1.0 * u.ms
    )


def stimuli(k):
    u = k.u
    rows = [
        'run(nn.PoissonSpike(50, freqs=80.0 * u.Hz))',
        'run(nn.PoissonEncoder(20), rates * u.Hz)',
        'run(nn.SpikeTime(4, indices=indices, times=times))',
    ]
    return dict(
        about='Sources of spikes.',
        inputs=dict(
            rates=200.0 * (1.1 + k.wave(30, 20)),
            times=k.jnp.asarray([0.2, 0.5, 0.5, 1.4, 2.0]) * u.ms,
            indices=k.jnp.asarray([0, 1, 3, 2, 0]),
        ),
        rows=rows,
        dt=0.1 * u.ms,
    )


def inputs(k):
    u = k.u
    rows = [
        'run(nn.SectionInput(2, [0.5 * u.mA, 2.0 * u.mA], [0.3 * u.ms, 0.5 * u.ms]))',
        'run(nn.ConstantInput(2, 1.5 * u.mA, 0.7 * u.ms))',
        'run(nn.StepInput(2, [1.0 * u.mA, 3.0 * u.mA], [0.2 * u.ms, 0.9 * u.ms]))',
        'run(nn.RampInput(2, 0.0 * u.mA, 2.0 * u.mA, 1.5 * u.ms))',
        'run(nn.SinusoidalInput(2, 1.5 * u.mA, 300.0 * u.Hz, 2.0 * u.ms))',
        'run(nn.WienerProcessInput(2, 0.5 * u.mA, 2.0 * u.ms))',
        'run(nn.OUProcessInput(2, 1.0 * u.mA, 0.5 * u.mA, 10.0 * u.ms, 2.0 * u.ms))',
    ]
    return dict(about='Input currents as modules, from seed 3.', inputs=dict(), rows=rows, dt=0.1 * u.ms)


def initialisers(k):
    rows = [
        'init.%s()((3, 4))' % n
        for n in (
            'XavierUniform XavierNormal KaimingUniform KaimingNormal LecunUniform LecunNormal '
            'Orthogonal VarianceScaling Identity ZeroInit'
        ).split()
    ]
    rows += ['init.Constant(2.5)((2, 3))', 'init.TruncatedNormal(0.5, 2.0, -1.0, 1.5)((3, 4))']
    return dict(about='Weights from seed 3.', inputs=dict(), rows=rows)


def linear(k):
    return dict(
        about='Linear layers with given parameters.',
        inputs=dict(g=k.wave(2, 3, 4), x=k.wave(2, 4)),
        rows=['fill(nn.GroupedLinear(3, 4, 5))(g)', 'fill(nn.OneToOne(4))(x)', 'fill(nn.AllToAll(4, 3))(x)'],
    )


def distributions(k):
    rows = [
        'random.%s(size=(3, 2))' % n
        for n in (
            'random random_sample ranf sample standard_normal standard_exponential standard_cauchy logistic '
            'gumbel laplace'
        ).split()
    ]
    rows += [
        'random.%s, size=(3, 2))' % n
        for n in (
            'exponential(2.0; weibull(1.5; power(2.5; rayleigh(1.5; '
            'lognormal(0.2, 0.5; triangular(0.0, 1.0, 3.0; wald(1.0, 2.0; geometric(0.3; weibull_min(1.5, 2.0; normal(1.0, 2.0; '
            'uniform(-1.0, 2.0; truncated_normal(-1.0, 1.5; '
            'random_integers(2, 9; randint(2, 9; bernoulli(0.3'
        ).split('; ')
    ]
    # the reference's values begin at 1, its description and bdl's at 0
    rows += [
        ('random.pareto(3.0, size=(3, 2)) - 1.0', 'random.pareto(3.0, {size = {3, 2}})'),
        'random.maxwell(size=(3, 2))',
        'random.multivariate_normal(mean, cov, size=(2,))',
        'random.permutation(6)',
        'random.permutation(mean)',
        'random.shuffle(mean)',
        'random.categorical(mean, size=(4,))',
        'random.choice(5, size=(4,))',
        'random.choice(5, size=(3,), replace=False)',
        'random.orthogonal(3)',
        'random.rand(3, 2)',
        'random.randn(3, 2)',
        'random.rand_like(mean)',
        'random.randn_like(mean)',
        'random.randint_like(mean, 2, 9)',
    ]
    return dict(
        about='Draws from seed 3.',
        tolerance=(1e-9, 1e-12),
        rows=rows,
        inputs=dict(mean=k.wave(3), cov=k.jnp.asarray([[2.0, 0.5, 0.1], [0.5, 1.0, 0.2], [0.1, 0.2, 1.5]])),
    )


def losses(k):
    jnp = k.jnp
    rows = [
        'metric.%s(x, y)' % n
        for n in 'squared_error absolute_error huber_loss l2_loss log_cosh cosine_similarity cosine_distance  '
        'sigmoid_binary_cross_entropy'.split()
    ]
    rows = [r for r in rows]
    rows += [
        'metric.huber_loss(x, y, delta=0.4)',
        'metric.l1_loss(x, y)',
        "metric.l1_loss(x, y, reduction='sum')",
        "metric.L1Loss('mean').update(x, y)",
        'metric.cosine_similarity(x, y, epsilon=0.01)',
        'metric.l2_norm(x, y, axis=1)',
        'metric.l2_norm(x[0], y[0])',
        'metric.safe_norm(x, 0.5, axis=1)',
        'metric.hinge_loss(x, signs)',
        'metric.perceptron_loss(x, signs)',
        'metric.softmax_cross_entropy(x, soft)',
        'metric.softmax_cross_entropy_with_integer_labels(x, ids)',
        'metric.multiclass_hinge_loss(x, ids)',
        'metric.multiclass_perceptron_loss(x, ids)',
        'metric.poly_loss_cross_entropy(x, soft, epsilon=1.5)',
        'metric.kl_divergence(logs, soft)',
        'metric.kl_divergence_with_log_targets(logs, logs2)',
        'metric.convex_kl_divergence(logs, soft)',
        'metric.nll_loss(logs, ids)',
        'metric.smooth_labels(soft, 0.1)',
        'metric.sigmoid_focal_loss(x, onehot)',
        'metric.sigmoid_focal_loss(x, onehot, alpha=0.3, gamma=1.5)',
        'metric.ranking_softmax_loss(x, soft)',
        'metric.ctc_loss(ctc, pad, seq, seqpad)',
        'metric.ctc_loss_with_forward_probs(ctc, pad, seq, seqpad)',
        'metric.make_fenchel_young_loss(F.logsumexp)(x[0], soft[0])',
        'metric.pairwise_cosine_similarity(x, y)',
        'metric.pairwise_cosine_distance(x, y)',
    ]
    soft = jnp.exp(k.wave(3, 4, w=2.1))
    soft = soft / soft.sum(-1, keepdims=True)
    logs = k.wave(3, 4, w=0.9)
    logs = logs - jnp.log(jnp.exp(logs).sum(-1, keepdims=True))
    logs2 = k.wave(3, 4, w=1.3)
    logs2 = logs2 - jnp.log(jnp.exp(logs2).sum(-1, keepdims=True))
    return dict(
        about='Losses.',
        rows=rows,
        inputs=dict(
            x=k.wave(3, 4),
            y=k.wave(3, 4, w=2.9),
            signs=jnp.where(k.wave(3, 4, w=2.3) > 0, 1.0, -1.0),
            soft=soft,
            logs=logs,
            logs2=logs2,
            ids=jnp.asarray([1, 3, 0]),
            onehot=jnp.eye(4)[jnp.asarray([1, 3, 0])],
            ctc=k.wave(2, 5, 4),
            pad=jnp.zeros((2, 5)),
            seq=jnp.asarray([[1, 2], [3, 0]]),
            seqpad=jnp.asarray([[0.0, 0.0], [0.0, 1.0]]),
        ),
    )


def activity(k):
    u, jnp = k.u, k.jnp
    spikes = (k.wave(300, 5, w=2.37) > 0.8) * 1.0
    rows = [
        'metric.cross_correlation(spikes, 5.0 * u.ms)',
        'metric.firing_rate(spikes, 10.0 * u.ms)',
        'metric.voltage_fluctuation(v)',
        'metric.matrix_correlation(a, b)',
        'metric.functional_connectivity(v)',
        'metric.functional_connectivity_dynamics(v, window_size=100, step_size=50)',
        'metric.weighted_correlation(a[0], b[0], w)',
        'metric.spike_train_synchrony(spikes, 5.0 * u.ms)',
        'metric.burst_synchrony_index(spikes)',
        'metric.phase_locking_value(spikes, 20.0, dt=0.001)',
        'metric.spike_time_tiling_coefficient(spikes, tau=5.0 * u.ms)',
        'metric.correlation_index(spikes, 5.0 * u.ms)',
        'metric.victor_purpura_distance(t1, t2, cost_factor=0.5)',
        'metric.van_rossum_distance(t1, t2, tau=2.0)',
        'metric.power_spectral_density(lfp, 1.0 * u.ms)',
        'metric.coherence_analysis(lfp, lfp2, 1.0 * u.ms)',
        'metric.spectral_entropy(lfp, 1.0 * u.ms)',
        'metric.phase_amplitude_coupling(lfp, 1.0 * u.ms)',
        'metric.theta_gamma_coupling(lfp, 1.0 * u.ms)',
        'metric.current_source_density(lam, 0.1 * u.mm)',
        'metric.lfp_phase_coherence(lam, 1.0 * u.ms)',
        "metric.unitary_LFP(times, spikes, 'exc', seed=42)",
        'metric.raster_plot(spikes, times)',
    ]
    return dict(
        about='Measures of activity.',
        rows=rows,
        dt=1.0 * u.ms,
        inputs=dict(
            spikes=spikes,
            v=k.wave(300, 3, w=0.11),
            a=k.wave(4, 5),
            b=k.wave(4, 5, w=2.9),
            w=0.6 + 0.5 * k.wave(5, w=0.7),
            t1=jnp.asarray([1.0, 4.0, 9.0]),
            t2=jnp.asarray([1.5, 8.0]),
            lfp=k.wave(512, w=0.05) + 0.5 * k.wave(512, w=0.4),
            lfp2=k.wave(512, w=0.05, k=1.0) + 0.3 * k.wave(512, w=0.7),
            lam=k.wave(256, 5, w=0.31),
            times=jnp.arange(300) * 1.0,
        ),
        tolerance=(1e-8, 1e-10),
    )


CASES = dict(
    activations=activations,
    padding=padding,
    pooling=pooling,
    convolution=convolution,
    dropout=dropout,
    transforms=transforms,
    regularization=regularization,
    inputs=inputs,
    initialisers=initialisers,
    linear=linear,
    distributions=distributions,
    rnn_cells=rnn_cells,
    readouts=readouts,
    stimuli=stimuli,
    losses=losses,
    activity=activity,
)
