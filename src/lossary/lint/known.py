"""Names that exist, and the parameters of the losses among them: written by ``docs/make_lint_names.py``.

From PyTorch 2.13.0, Keras 3.15.1 and Optax 0.2.8. Do not edit.
"""

_NAMES = {
    "torch.nn": """
        AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveLogSoftmaxWithLoss AdaptiveMaxPool1d
        AdaptiveMaxPool2d AdaptiveMaxPool3d AlphaDropout AvgPool1d AvgPool2d AvgPool3d BCELoss BCEWithLogitsLoss
        BatchNorm1d BatchNorm2d BatchNorm3d Bilinear Buffer CELU CTCLoss ChannelShuffle CircularPad1d CircularPad2d
        CircularPad3d ConstantPad1d ConstantPad2d ConstantPad3d Container Conv1d Conv2d Conv3d ConvTranspose1d
        ConvTranspose2d ConvTranspose3d CosineEmbeddingLoss CosineSimilarity CrossEntropyLoss CrossMapLRN2d DataParallel
        Dropout Dropout1d Dropout2d Dropout3d ELU Embedding EmbeddingBag FeatureAlphaDropout Flatten Fold
        FractionalMaxPool2d FractionalMaxPool3d GELU GLU GRU GRUCell GaussianNLLLoss GroupNorm Hardshrink Hardsigmoid
        Hardswish Hardtanh HingeEmbeddingLoss HuberLoss Identity InstanceNorm1d InstanceNorm2d InstanceNorm3d KLDivLoss
        L1Loss LPPool1d LPPool2d LPPool3d LSTM LSTMCell LayerNorm LazyBatchNorm1d LazyBatchNorm2d LazyBatchNorm3d
        LazyConv1d LazyConv2d LazyConv3d LazyConvTranspose1d LazyConvTranspose2d LazyConvTranspose3d LazyInstanceNorm1d
        LazyInstanceNorm2d LazyInstanceNorm3d LazyLinear LeakyReLU Linear LinearCrossEntropyLoss
        LinearCrossEntropyOptions LocalResponseNorm LogSigmoid LogSoftmax MSELoss MarginRankingLoss MaxPool1d MaxPool2d
        MaxPool3d MaxUnpool1d MaxUnpool2d MaxUnpool3d Mish Module ModuleDict ModuleList MultiLabelMarginLoss
        MultiLabelSoftMarginLoss MultiMarginLoss MultiheadAttention NLLLoss NLLLoss2d PReLU PairwiseDistance Parameter
        ParameterDict ParameterList PixelShuffle PixelUnshuffle PoissonNLLLoss RMSNorm RNN RNNBase RNNCell RNNCellBase
        RReLU ReLU ReLU6 ReflectionPad1d ReflectionPad2d ReflectionPad3d ReplicationPad1d ReplicationPad2d
        ReplicationPad3d SELU Sequential SiLU Sigmoid SmoothL1Loss SoftMarginLoss Softmax Softmax2d Softmin Softplus
        Softshrink Softsign SyncBatchNorm Tanh Tanhshrink Threshold Transformer TransformerDecoder
        TransformerDecoderLayer TransformerEncoder TransformerEncoderLayer TripletMarginLoss
        TripletMarginWithDistanceLoss Unflatten Unfold UninitializedBuffer UninitializedParameter Upsample
        UpsamplingBilinear2d UpsamplingNearest2d ZeroPad1d ZeroPad2d ZeroPad3d attention common_types factory_kwargs
        functional grad init intrinsic modules parallel parameter qat quantizable quantized utils
    """,
    "torch.nn.functional": """
        BroadcastingList1 BroadcastingList2 BroadcastingList3 Callable DType GRID_SAMPLE_INTERPOLATION_MODES
        GRID_SAMPLE_PADDING_MODES Optional ScalingType SwizzleType TYPE_CHECKING Tensor adaptive_avg_pool1d
        adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool1d_with_indices adaptive_max_pool2d
        adaptive_max_pool2d_with_indices adaptive_max_pool3d adaptive_max_pool3d_with_indices affine_grid alpha_dropout
        assert_int_or_pair avg_pool1d avg_pool2d avg_pool3d batch_norm bilinear binary_cross_entropy
        binary_cross_entropy_with_logits boolean_dispatch celu celu_ channel_shuffle conv1d conv2d conv3d conv_tbc
        conv_transpose1d conv_transpose2d conv_transpose3d cosine_embedding_loss cosine_similarity cross_entropy
        ctc_loss dataclasses dropout dropout1d dropout2d dropout3d elu elu_ embedding embedding_bag
        feature_alpha_dropout fold fractional_max_pool2d fractional_max_pool2d_with_indices fractional_max_pool3d
        fractional_max_pool3d_with_indices gaussian_nll_loss gelu glu grad grid_sample group_norm grouped_mm
        gumbel_softmax handle_torch_function hardshrink hardsigmoid hardswish hardtanh hardtanh_ has_torch_function
        has_torch_function_unary has_torch_function_variadic hinge_embedding_loss huber_loss importlib instance_norm
        interpolate kl_div l1_loss layer_norm leaky_relu leaky_relu_ linear linear_cross_entropy local_response_norm
        log_softmax logsigmoid lp_pool1d lp_pool2d lp_pool3d margin_ranking_loss math max_pool1d max_pool1d_with_indices
        max_pool2d max_pool2d_with_indices max_pool3d max_pool3d_with_indices max_unpool1d max_unpool2d max_unpool3d
        mish mse_loss multi_head_attention_forward multi_margin_loss multilabel_margin_loss multilabel_soft_margin_loss
        native_channel_shuffle nll_loss normalize np one_hot pad pairwise_distance pdist pixel_shuffle pixel_unshuffle
        poisson_nll_loss prelu relu relu6 relu_ reproducibility_notes rms_norm rrelu rrelu_ scaled_dot_product_attention
        scaled_grouped_mm scaled_mm selu selu_ sigmoid silu smooth_l1_loss soft_margin_loss softmax softmin softplus
        softshrink softsign sparse_support_notes tanh tanhshrink tf32_notes threshold threshold_ torch
        triplet_margin_loss triplet_margin_with_distance_loss unfold upsample upsample_bilinear upsample_nearest
        warnings
    """,
    "keras.losses": """
        BinaryCrossentropy BinaryFocalCrossentropy CTC CategoricalCrossentropy CategoricalFocalCrossentropy
        CategoricalGeneralizedCrossEntropy CategoricalHinge Circle CosineSimilarity Dice Hinge Huber KLDivergence
        LogCosh Loss MeanAbsoluteError MeanAbsolutePercentageError MeanSquaredError MeanSquaredLogarithmicError Poisson
        SparseCategoricalCrossentropy SquaredHinge Tversky binary_crossentropy binary_focal_crossentropy
        categorical_crossentropy categorical_focal_crossentropy categorical_generalized_cross_entropy categorical_hinge
        circle cosine_similarity ctc deserialize dice get hinge huber kl_divergence log_cosh mean_absolute_error
        mean_absolute_percentage_error mean_squared_error mean_squared_logarithmic_error poisson serialize
        sparse_categorical_crossentropy squared_hinge tversky
    """,
    "optax": """
        ApplyEvery DifferentiallyPrivateAggregateState EmptyState FactoredState GradientTransformation
        GradientTransformationExtraArgs LookaheadParams LookaheadState MaskOrFn OptState Params ScalarOrSchedule
        ScaleByAdaDeltaState ScaleByAdamState ScaleByAdanState ScaleByAmsgradState ScaleByBacktrackingLinesearchState
        ScaleByBeliefState ScaleByLBFGSState ScaleByLionState ScaleByNovogradState ScaleByRStdDevState ScaleByRmsState
        ScaleByRpropState ScaleByRssState ScaleBySM3State ScaleByScheduleState ScaleByZoomLinesearchState Schedule
        TransformInitFn TransformUpdateExtraArgsFn TransformUpdateFn Updates ZoomLinesearchInfo adabelief adadelta
        adafactor adagrad adam adamax adamaxw adamw adan amsgrad apply_every apply_updates assignment centralize contrib
        differentially_private_aggregate dpsgd experimental fromage global_norm identity incremental_update
        init_empty_state lamb lars lbfgs lion lookahead losses matrix_inverse_pth_root microbatching multi_normal nadam
        nadamw nnls noisy_sgd normalize_by_update_norm novograd optimistic_adam optimistic_adam_v2
        optimistic_gradient_descent periodic_update perturbations polyak_sgd power_iteration projections radam rmsprop
        rprop safe_increment safe_int32_increment safe_norm safe_root_mean_squares scale scale_by_adadelta scale_by_adam
        scale_by_adamax scale_by_adan scale_by_amsgrad scale_by_backtracking_linesearch scale_by_belief
        scale_by_distance_over_gradients scale_by_factored_rms scale_by_lbfgs scale_by_learning_rate scale_by_lion
        scale_by_novograd scale_by_optimistic_gradient scale_by_param_block_norm scale_by_param_block_rms
        scale_by_polyak scale_by_radam scale_by_rms scale_by_rprop scale_by_rss scale_by_schedule scale_by_sign
        scale_by_sm3 scale_by_stddev scale_by_trust_ratio scale_by_yogi scale_by_zoom_linesearch scale_gradient
        schedules second_order set_to_zero sgd sign_sgd signum sm3 stateless stateless_with_tree_map transforms tree
        tree_utils value_and_grad_from_state with_extra_args_support yogi
    """,
    "optax.losses": """
        binary_dice_loss convex_kl_divergence cosine_distance cosine_similarity ctc_loss ctc_loss_with_forward_probs
        dice_loss generalized_kl_divergence hinge_loss huber_loss kl_divergence kl_divergence_with_log_targets l2_loss
        log_cosh make_fenchel_young_loss multiclass_generalized_dice_loss multiclass_hinge_loss
        multiclass_perceptron_loss multiclass_sparsemax_loss ntxent perceptron_loss poly_loss_cross_entropy
        ranking_softmax_loss safe_softmax_cross_entropy sigmoid_binary_cross_entropy sigmoid_focal_loss smooth_labels
        softmax_cross_entropy softmax_cross_entropy_with_integer_labels sparsemax_loss squared_error triplet_margin_loss
    """,
}

NAMES = {place: frozenset(text.split()) for place, text in _NAMES.items()}

SIGNATURES: dict[str, tuple[str, ...]] = {
    name: tuple(text.split())
    for name, text in {
        "torch.nn.AdaptiveLogSoftmaxWithLoss": "in_features n_classes cutoffs div_value head_bias device dtype",
        "torch.nn.BCELoss": "weight size_average reduce reduction",
        "torch.nn.BCEWithLogitsLoss": "weight size_average reduce reduction pos_weight",
        "torch.nn.CTCLoss": "blank reduction zero_infinity",
        "torch.nn.CosineEmbeddingLoss": "margin size_average reduce reduction",
        "torch.nn.CrossEntropyLoss": "weight size_average ignore_index reduce reduction label_smoothing",
        "torch.nn.GaussianNLLLoss": "full eps reduction",
        "torch.nn.HingeEmbeddingLoss": "margin size_average reduce reduction",
        "torch.nn.HuberLoss": "reduction delta",
        "torch.nn.KLDivLoss": "size_average reduce reduction log_target",
        "torch.nn.L1Loss": "size_average reduce reduction",
        "torch.nn.LinearCrossEntropyLoss": (
            "in_features num_classes out_features bias device dtype reduction weight ignore_index "
            "label_smoothing options "
        ),
        "torch.nn.MSELoss": "size_average reduce reduction",
        "torch.nn.MarginRankingLoss": "margin size_average reduce reduction",
        "torch.nn.MultiLabelMarginLoss": "size_average reduce reduction",
        "torch.nn.MultiLabelSoftMarginLoss": "weight size_average reduce reduction",
        "torch.nn.MultiMarginLoss": "p margin weight size_average reduce reduction",
        "torch.nn.NLLLoss": "weight size_average ignore_index reduce reduction",
        "torch.nn.PoissonNLLLoss": "log_input full size_average eps reduce reduction",
        "torch.nn.SmoothL1Loss": "size_average reduce reduction beta",
        "torch.nn.SoftMarginLoss": "size_average reduce reduction",
        "torch.nn.TripletMarginLoss": "margin p eps swap size_average reduce reduction",
        "torch.nn.TripletMarginWithDistanceLoss": "distance_function margin swap reduction",
        "torch.nn.functional.binary_cross_entropy": "input target weight size_average reduce reduction",
        "torch.nn.functional.binary_cross_entropy_with_logits": (
            "input target weight size_average reduce reduction pos_weight "
        ),
        "torch.nn.functional.cosine_embedding_loss": "input1 input2 target margin size_average reduce reduction",
        "torch.nn.functional.cross_entropy": (
            "input target weight size_average ignore_index reduce reduction label_smoothing "
        ),
        "torch.nn.functional.ctc_loss": "log_probs targets input_lengths target_lengths blank reduction zero_infinity",
        "torch.nn.functional.gaussian_nll_loss": "input target var full eps reduction",
        "torch.nn.functional.hinge_embedding_loss": "input target margin size_average reduce reduction",
        "torch.nn.functional.huber_loss": "input target reduction delta weight",
        "torch.nn.functional.kl_div": "input target size_average reduce reduction log_target",
        "torch.nn.functional.l1_loss": "input target size_average reduce reduction weight",
        "torch.nn.functional.linear_cross_entropy": (
            "input linear_weight target linear_bias weight reduction ignore_index label_smoothing options "
        ),
        "torch.nn.functional.margin_ranking_loss": "input1 input2 target margin size_average reduce reduction",
        "torch.nn.functional.mse_loss": "input target size_average reduce reduction weight",
        "torch.nn.functional.multi_margin_loss": "input target p margin weight size_average reduce reduction",
        "torch.nn.functional.multilabel_margin_loss": "input target size_average reduce reduction",
        "torch.nn.functional.multilabel_soft_margin_loss": "input target weight size_average reduce reduction",
        "torch.nn.functional.nll_loss": "input target weight size_average ignore_index reduce reduction",
        "torch.nn.functional.poisson_nll_loss": "input target log_input full size_average eps reduce reduction",
        "torch.nn.functional.smooth_l1_loss": "input target size_average reduce reduction beta",
        "torch.nn.functional.soft_margin_loss": "input target size_average reduce reduction",
        "torch.nn.functional.triplet_margin_loss": (
            "anchor positive negative margin p eps swap size_average reduce reduction "
        ),
        "torch.nn.functional.triplet_margin_with_distance_loss": (
            "anchor positive negative distance_function margin swap reduction "
        ),
    }.items()
}
