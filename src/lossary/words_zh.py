"""What each loss is, and the noise model it assumes, told in Chinese.

A loss that is not here yet speaks English under ``--lang zh``; a test over the published losses says what to add. The
mathematics inside a sentence, and the names between backticks, stay as they are in the English one.
"""

from __future__ import annotations

SUMMARIES = {
    # regression
    "squared_error": "残差的平方；其平均即均方误差（MSE），在条件均值处最小。",
    "half_squared_error": "残差平方的一半，于是梯度恰好就是残差本身。",
    "absolute_error": "残差的绝对值；其平均在条件中位数处最小，因此严重的离群值几乎影响不了它。",
    "huber": "离目标不超过 `delta` 时为二次函数，超出后为线性函数。",
    "smooth_l1": "以抛物线磨圆尖角的绝对误差；无论 `beta` 取何值，外侧的斜率总是 1。",
    "pseudo_huber": "在目标附近是平方误差的一半，在远处是绝对误差的 `delta` 倍，两者之间平滑过渡。",
    "log_cosh": "残差小时是平方误差的一半，残差大时是绝对误差减去 log 2，处处光滑。",
    "pinball": "倾斜的绝对误差；其平均在条件分位数处最小。",
    "epsilon_insensitive": "目标周围管道之外的绝对误差；管道之内的误差不计代价，与支持向量回归相同。",
    "mape": "残差的绝对值与目标的绝对值之比。",
    "msle": "``log(1 + 值)`` 之差的平方：数值大时衡量相对误差，接近 0 时衡量绝对误差。",
    "cosine_distance": "1 减去两个向量夹角的余弦：同向为 0，正交为 1，反向为 2。",
    # classification
    "binary_cross_entropy": "二元结果所得概率的负对数，输入为概率。",
    "binary_cross_entropy_with_logits": (
        "二元结果所得概率的负对数，输入为对数几率：对任何输入都有限、精确，梯度也不会被截断。"
    ),
    "softmax_cross_entropy": "一行对数几率经 softmax 之后，真实类别所得概率的负对数。",
    "nll": "给定的对数概率在真实类别处的相反数：softmax 交叉熵的后半步。",
    "zero_one": "判错为 1，判对为 0：平均即错误率，其他损失都是它的替代。",
    "brier": "一行概率与实际结果之间距离的平方：一种绝不会变成无穷大的适当评分。",
    "generalized_cross_entropy": "介于交叉熵与错误率之间：错误的标签至多只能带来 ``1 / q`` 的代价。",
    "poly_loss": "把交叉熵按 ``1 - p`` 展开，再调整首项的权重（Poly-1）。",
    # margins
    "hinge": "得分在标签一侧尚未达到间隔的不足量：支持向量机的损失。",
    "squared_hinge": "铰链损失的平方：没有折点，拉力随违反量增大。",
    "smoothed_hinge": "以宽为 `gamma` 的抛物线磨圆折点的铰链损失：处处光滑，而对判错的样本仍是线性的。",
    "modified_huber": "判错的幅度达到 1 之前是平方铰链损失，此后是斜率为 4 的直线，因此离群值的拉力都相同。",
    "perceptron": "得分落在 0 的错误一侧有多远：没有间隔的铰链损失。",
    "exponential": "负间隔的指数，AdaBoost 逐步将其最小化；标错的样本会主导总和。",
    "logistic_margin": "标签为 -1 与 1 的逻辑回归：即对数几率上的二元交叉熵，只是标签的写法不同。",
    "multi_margin": "凡是与真实类别的差距不到间隔的错误类别都要计入代价，总和再除以类别数。",
    "multiclass_hinge": "真实类别对最强竞争者的领先量尚未达到间隔的不足量。",
    "multilabel_margin": "每个出现的标签的得分都应比每个未出现的高出 1；所有标签对的不足量相加，再除以类别数。",
    "multilabel_soft_margin": "每个标签在其对数几率上的二元交叉熵，对一个样本的所有标签取平均。",
    "hinge_embedding": "输入是距离：应在一起的一对（1）越近越好，不应在一起的一对（-1）至少相隔一个间隔。",
    # imbalance
    "sigmoid_focal": "压低已判对样本的二元交叉熵，用于密集目标检测。",
    "softmax_focal": "压低已判对样本的 softmax 交叉熵。",
    "logit_adjusted": "先给对数几率加上类别频数的对数，再计算 softmax 交叉熵：模型不必再去学习某个类别有多罕见。",
    "class_balanced": "按每个类别有效样本数的倒数加权的 softmax 交叉熵。",
    # likelihoods
    "gaussian_nll": "目标在高斯分布下的代价，均值与方差都由模型预测。",
    "laplace_nll": "目标在拉普拉斯分布下的代价，中心与尺度都由模型预测。",
    "student_t_nll": "目标在学生 t 分布下的代价：严重的误差只按其对数计价，几乎没有拉力。",
    "poisson_nll": "计数在泊松分布下的代价，输入为速率的对数。",
    "poisson_nll_rate": "计数在泊松分布下的代价，输入为速率。",
    "gamma_nll": "正数量在伽马分布下的代价，输入为均值的对数。",
    "tweedie_deviance": "对于时常为 0、其余为正的数量，所预测的均值比完美预测差多少。",
    "negative_binomial_nll": "比泊松分布更为离散的计数的代价，输入为均值的对数。",
    # divergences
    "kl_divergence": "KL 散度 KL(target || pred)，单位为奈特：用预测的分布给目标编码时浪费的长度。",
    "reverse_kl": "KL 散度 KL(pred || target)，单位为奈特，预测以对数概率给出。",
    "js_divergence": "JS 散度，单位为奈特：两个分布各自到它们的混合分布的散度的平均。",
    "generalized_kl": "总和不必为 1 的数量之间的 KL 散度，输入为预测量的对数。",
    # metric learning
    "contrastive": "样本对之间的弹簧：相似的一对（1）被拉近，不相似的一对（0）被推开，直到相隔一个间隔。",
    "triplet_margin": "锚点到正例应比到负例更近，至少近一个间隔。",
    "margin_ranking": "两个得分中，第一个应当更高（1）或更低（-1），至少相差一个间隔。",
    "cosine_embedding": "应在一起的一对（1）应指向同一方向；其余的一对（-1）余弦应低于间隔。",
    "batch_hard_triplet": "对每个锚点，由批内离它最远的正例与最近的负例组成的三元组。",
    "arcface": "以余弦为输入的 softmax 交叉熵，其中与真实类别的夹角被加大了一个间隔。",
    "cosface": "以余弦为输入的 softmax 交叉熵，其中与真实类别的余弦被减小了一个间隔。",
    "nt_xent": "按余弦，从锚点的所有负例之中逐一认出它的每个正例。",
    "supcon": "锚点对其余所有样本作 softmax 的交叉熵，它的各个正例是同等可能的正确答案。",
    # segmentation
    "dice": "1 减去两个区域重叠的两倍与其大小之和的比，与其余部分有多大无关。",
    "tversky": "误报与漏报各有其价的重叠度。",
    "jaccard": "1 减去交并比，以概率的乘积与求和代替集合的运算。",
    "generalized_dice": "一幅图像的所有类别共用一个 Dice 商，小类别与大类别同等重要。",
    # penalties
    "l1_penalty": "每个参数的绝对值；所有参数以同样的力度被拉向 0，其中一些恰好到达 0。",
    "l2_penalty": "每个参数平方的一半，其梯度就是参数本身：优化器称之为权重衰减。",
    "elastic_net": "`l1_penalty` 与 `l2_penalty` 的混合：像前者一样稀疏，像后者一样在相关的输入之间保持稳定。",
    # preferences
    "bradley_terry": "在两个回答之间作选择的代价，输入为奖励模型给每个回答的得分。",
    "dpo": "从两个回答中选出较好的一个，策略自身就是奖励模型（直接偏好优化）。",
    "robust_dpo": "即使有些样本对的好坏标反了，平均而言仍然正确的 DPO。",
    "ipo": "被选中的回答对被拒绝的回答的领先量应等于一个给定的数，而不是越大越好。",
    "dpo_hinge": "以铰链代替 `dpo` 的逻辑代价：领先量达到间隔的样本对不再受力。",
    "simpo": "按每个词元的平均对数概率从两个回答中选出较好的一个，不需要参考策略。",
    "cpo": "参考策略为均匀分布的 DPO，另加一个似然项，使被选中的回答保持较高的概率。",
    "orpo": "在被选中的回答上微调，同时比较它与被拒绝的回答的几率，一步完成。",
    "kto": "标为好（1）或坏（0）的单个回答，像得与失那样估价：从参考点算起，并且有界。",
    "policy_gradient": "按优势的大小提高一个动作的概率（REINFORCE）。",
    "ppo_clip": "按优势的大小提高一个动作的概率，但不会比抽取它时高出太多。",
    "grpo": "组相对策略优化中一个词元的份额：裁剪后的比值，加上偏离参考策略的代价。",
    "kl_k1": "所抽动作的对数比值：其均值即散度 KL(policy || reference)，但离散程度很大。",
    "kl_k2": "所抽动作的对数比值平方的一半：从不为负，略有偏差，而梯度是正确的。",
    "kl_k3": "所抽动作的对数比值再加一个均值为 0 的项，使其为正：无偏，离散程度也小。",
    "entropy_bonus": "softmax 的熵的相反数，单位为奈特：乘以小系数加到损失上，使策略不致过早下定论。",
    # sampling
    "sampled_softmax": "对正确类别与少数抽取的类别计算 softmax 交叉熵，每个类别都按其被抽取的频繁程度校正。",
    "noise_contrastive_estimation": "是数据还是噪声？以逻辑回归使模型的得分成为对数概率，连归一化因子也一并学到。",
    "negative_sampling": "如 word2vec 那样，把出现过的对与抽取的对区分开，而不管后者是如何抽取的。",
    "info_nce": "候选之中哪一个是搭档？对相似度表的一行计算 softmax 交叉熵。",
    "siglip": "候选之中哪些是搭档？对相似度表一行中的每个余弦回答是或否，代价相加。",
    "ctc": "无人标明哪一帧对应哪个标签时，标签序列的概率的负对数（连接时序分类）。",
    "linear_chain_crf": "整条标注序列概率的负对数，其中每个标注的得分取决于前一个标注。",
    "rnnt": "转录器给出标签序列的概率的负对数，对标签与帧的所有对齐方式求和。",
}

LIKELIHOODS = {
    "squared_error": "方差恒定的高斯噪声：-log N(y; pred, s^2) = (pred - y)^2 / (2 s^2) + 常数",
    "half_squared_error": "方差为 1 的高斯噪声：-log N(y; pred, 1) = (pred - y)^2 / 2 + 常数",
    "absolute_error": "尺度恒定的拉普拉斯噪声：-log p(y; pred, b) = |pred - y| / b + 常数",
    "huber": "Huber 的最不利密度：中心为高斯，从 delta 起为拉普拉斯尾部",
    "smooth_l1": "经缩放使尾部斜率为 1 的 Huber 密度",
    "pseudo_huber": "双曲密度：-log p(y; pred) = delta^2 sqrt(1 + (r / delta)^2) + 常数",
    "log_cosh": "双曲正割噪声：-log(sech(y - pred) / pi) = log cosh(pred - y) + log(pi)",
    "pinball": "尺度为 1 的非对称拉普拉斯噪声：-log p(y; pred, q) = pinball - log(q (1 - q))",
    "msle": "离散程度恒定的对数正态噪声：log(1 + y) 服从以 log(1 + pred) 为中心的高斯分布",
    "cosine_distance": "浓度为 1 的 von Mises-Fisher 噪声：-log p(y / |y|; pred / |pred|) = 1 - cos + 常数",
    "binary_cross_entropy": "伯努利结果：-log P(y; p) = -y log p - (1 - y) log(1 - p)",
    "binary_cross_entropy_with_logits": (
        "对数几率为 z 的伯努利结果：-log P(y; sigmoid(z)) = y softplus(-z) + (1 - y) softplus(z)"
    ),
    "softmax_cross_entropy": "概率为 softmax(z) 的类别分布：-log P(k; softmax(z)) = logsumexp(z) - z_k",
    "nll": "对数概率为 l 的类别分布：-log P(k) = -l_k",
    "logistic_margin": "伯努利结果：P(y | z) = sigmoid(y z)，y 取自 {-1, 1}，其负对数为 log(1 + exp(-y z))",
    "multilabel_soft_margin": "相互独立的伯努利标签：P(y_k = 1 | z) = sigmoid(z_k)；对标签取平均而不是求和",
    "logit_adjusted": "训练集先验为 n / sum(n) 的类别分布：单独 z 的 softmax 即类别平衡时的后验",
    "gaussian_nll": "方差 v 由模型预测的高斯噪声：-log N(y; pred, v) = (log v + r^2 / v) / 2 + log(2 pi) / 2",
    "laplace_nll": "尺度 b 由模型预测的拉普拉斯噪声：-log(exp(-|r| / b) / (2 b)) = log b + |r| / b + log 2",
    "student_t_nll": "学生 t 噪声：-log p(y; pred, s, nu) = (nu + 1) / 2 log(1 + r^2 / (nu s^2)) + 常数",
    "poisson_nll": "均值为 exp(s) 的泊松计数：-log(exp(-m) m^y / y!) 在 log m = s 时为 exp(s) - y s + log y!",
    "poisson_nll_rate": "均值为 m 的泊松计数：-log(exp(-m) m^y / y!) = m - y log m + log y!",
    "gamma_nll": "形状为 k、均值为 exp(s) 的伽马分布：-log p(y) = k (s + y exp(-s)) + 只含 y 与 k 的项",
    "tweedie_deviance": "Tweedie 分布（泊松个数的伽马量之和）：-log p(y; mean, phi) = deviance / (2 phi) + 常数",
    "negative_binomial_nll": "负二项计数（NB2：均值 m = exp(s)，方差 m + alpha m^2），即速率服从伽马分布的泊松分布",
    "kl_divergence": "用 p 给取自 q 的样本编码：两者的交叉熵减去目标的熵",
    "generalized_kl": "均值为 exp(s) 的泊松计数：其代价减去完美预测的代价，即偏差的一半",
    "l1_penalty": "每个参数的先验为尺度 1 的拉普拉斯分布：-log p(w) = |w| + log 2",
    "l2_penalty": "每个参数的先验为方差 1 的高斯分布：-log p(w) = w^2 / 2 + log(2 pi) / 2",
    "elastic_net": "介于拉普拉斯与高斯之间的先验：-log p(w) = lambda |w| + (1 - lambda) w^2 / 2 + 常数",
    "bradley_terry": (
        "Bradley-Terry 选择：P(chosen beats rejected) = sigmoid(chosen - rejected - margin)；"
        "有居中项时，两者之和另有高斯先验"
    ),
    "dpo": "奖励为 beta log(policy / reference) 的 Bradley-Terry 选择：P(chosen) = sigmoid(lead)",
    "simpo": "奖励为 beta 乘以词元平均对数概率的 Bradley-Terry 选择：P(chosen) = sigmoid(lead)",
    "noise_contrastive_estimation": "伯努利：取自数据还是取自噪声，P(data | y) = sigmoid(s_y - log k q(y))",
    "negative_sampling": "伯努利：出现过的对还是抽取的对，P(occurred) = sigmoid(s)",
    "info_nce": "从候选中选出搭档的类别分布：P(j) = softmax(s / tau)_j",
    "siglip": "相互独立的伯努利对：P(j is a partner) = sigmoid(t s_j + b)",
    "ctc": "所有对齐方式：目标的概率是合并后等于它的每条逐帧路径的概率之和",
    "linear_chain_crf": "整条标注序列上的分布，与序列得分的指数成正比：-log P(y)",
    "rnnt": "所有对齐方式：目标的概率是穿过帧与标签的每条路径的概率之和",
}
