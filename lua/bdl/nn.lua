--- Neural building blocks: modules, neurons, synapses, outputs, projections, layers.
--  A class is loaded when it is first named: nn.LIF comes from nn/lif.lua.
return require "bdl.lazy"("nn", {
  module = "Module size Description",
  collective = "call_order call_all_fns init_all_states reset_all_states vmap_call_all_fns vmap_init_all_states vmap_reset_all_states assign_state_values",
  mapped = "Vmap Map",
  metrics = "MetricState Metric AverageMetric WelfordMetric AccuracyMetric PrecisionMetric RecallMetric F1ScoreMetric ConfusionMatrix MultiMetric",
  dynamics = "Dynamics receive_update_input receive_update_output not_receive_update_output",
  integrate = "exp_euler_step",
  window = "window_steps",
  neuron = "Neuron",
  spiking = "Spiking",
  linear = "Linear GroupedLinear ScaledWSLinear SignedWLinear SparseLinear AllToAll OneToOne LoRA",
  conv = "Conv1d Conv2d Conv3d ScaledWSConv1d ScaledWSConv2d ScaledWSConv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d",
  pool = "SumPool1d SumPool2d SumPool3d MaxPool1d MaxPool2d MaxPool3d AvgPool1d AvgPool2d AvgPool3d LPPool1d LPPool2d LPPool3d MaxUnpool1d MaxUnpool2d MaxUnpool3d"
         .. " AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d AdaptiveMaxPool3d",
  norm = "BatchNorm0d BatchNorm1d BatchNorm2d BatchNorm3d LayerNorm RMSNorm GroupNorm InstanceNorm",
  dropout = "Dropout Dropout1d Dropout2d Dropout3d AlphaDropout FeatureAlphaDropout DropoutFixed",
  embedding = "Embedding",
  padding = "ReflectionPad1d ReflectionPad2d ReflectionPad3d ReplicationPad1d ReplicationPad2d ReplicationPad3d ZeroPad1d ZeroPad2d ZeroPad3d"
            .. " ConstantPad1d ConstantPad2d ConstantPad3d CircularPad1d CircularPad2d CircularPad3d",
  sequential = "Sequential Flatten Unflatten EnvironContext",
  activations = "ElementWiseBlock Threshold ReLU RReLU Hardtanh ReLU6 Sigmoid Hardsigmoid Tanh SiLU Mish Hardswish ELU CELU SELU GLU GELU"
                .. " Hardshrink LeakyReLU LogSigmoid Softplus Softshrink PReLU Softsign Tanhshrink Softmin Softmax Softmax2d LogSoftmax Identity SpikeBitwise"
                .. " relu relu6 rrelu leaky_relu prelu sigmoid tanh log_sigmoid softplus soft_sign squareplus elu celu selu gelu silu swish mish"
                .. " hard_sigmoid hard_silu hard_swish hard_tanh tanh_shrink hard_shrink soft_shrink sparse_plus sparse_sigmoid softmax log_softmax"
                .. " logsumexp softmin glu standardize weight_standardization one_hot",
  cells = "RNNCell ValinaRNNCell VanillaRNNCell GRUCell MGUCell LSTMCell URLSTMCell CFNCell MinimalRNNCell MiniGRU MiniLSTM LRUCell",
  readout = "LeakyRateReadout LeakySpikeReadout",
  training = "count_parameters clip_grad_norm summary",
  param = "Param Const",
  transform = "Transform IdentityT SigmoidT ScaledSigmoidT TanhT SoftsignT ClipT SoftplusT NegSoftplusT LogT ExpT PositiveT NegativeT ReluT"
              .. " AffineT PowerT OrderedT SimplexT UnitVectorT ChainT MaskedT",
  regularization = "Regularization ChainedReg L1Reg L2Reg ElasticNetReg HuberReg GroupLassoReg TotalVariationReg MaxNormReg OrthogonalReg"
                   .. " SpectralNormReg EntropyReg DirichletReg GaussianReg StudentTReg CauchyReg HorseshoeReg UniformReg LogUniformReg"
                   .. " LogNormalReg ExponentialReg GammaReg InverseGammaReg BetaReg SpikeAndSlabReg",
  lif = "IF LIF LIFRef ALIF",
  hh = "HH",
  expif = "ExpIF ExpIFRef AdExIF AdExIFRef QuaIF QuaIFRef AdQuaIF AdQuaIFRef",
  gif = "Gif GifRef",
  synlif = "CubaLIF CobaLIF",
  izhikevich = "Izhikevich IzhikevichRef",
  conductance = "WangBuzsakiHH MorrisLecar",
  reduced = "FitzHughNagumo HindmarshRose",
  expon = "Expon DualExpon Alpha",
  receptor = "AMPA GABAa BioNMDA",
  plasticity = "STP STD",
  output = "SynOut COBA CUBA MgBlock",
  source = "SpikeTime PoissonSpike PoissonEncoder PoissonInput poisson_input",
  stimulus = "ConstantInput SectionInput StepInput RampInput SinusoidalInput WienerProcessInput OUProcessInput",
  gap = "SymmetryGapJunction AsymmetryGapJunction",
  rate = "WilsonCowan CANN1D",
  reservoir = "Reservoir",
  synaptic = "EventLinear FixedNumConn EventFixedNumConn EventFixedProb",
  stdp = "STDP TripletSTDP DopamineSTDP",
  delay = "Delay DelayAccess StateWithDelay InputDelay InterpolationRegistry",
  projection = "DeltaProj CurrentProj AlignPreProj AlignPostProj",
})
