"""Words for people: quantities, facts, headings and losses in English and Chinese, and formulas in plain Unicode.

An English word is the identifier itself. A Chinese one is looked up as a whole, then put together from its parts, as
Chinese compounds are: ``log_probabilities`` is 对数 + 概率. A new local in a definition needs at most one new entry; a
test says which.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

from lossary.text.chinese import LIKELIHOODS, NAMES, SUMMARIES
from lossary.text.formula import GREEK

if TYPE_CHECKING:
    from lossary.catalogue import Loss

Lang = Literal["en", "zh"]
LANGS: tuple[Lang, ...] = ("en", "zh")


# --- quantities: locals and arguments of the definitions, and their parts -------------------------------------------

_CHINESE = {
    # the arrays
    "pred": "预测", "target": "目标", "targets": "目标", "logits": "对数几率", "logit": "对数几率", "label": "标签",
    "probs": "概率", "prob": "概率", "scores": "得分", "score": "得分", "embeddings": "嵌入", "embedding": "嵌入",
    "anchor": "锚点", "positive": "正例", "negative": "负例", "weight": "权重", "weights": "权重", "mask": "掩码",
    "log_probs": "对数概率", "var": "方差", "variance": "方差", "mean": "均值", "rate": "速率", "parameter": "参数",
    "query": "查询", "key": "键", "relevance": "相关度", "similarity": "相似度", "similarities": "相似度",
    "prediction": "预测", "predicted": "预测", "input": "输入", "output": "输出", "real": "真实", "fake": "生成",
    "location": "位置", "log_var": "对数方差", "log_scale": "对数尺度", "features": "特征", "scale": "尺度",
    "shape": "形状", "concentration": "浓度", "dispersion": "离散度", "degrees": "自由度", "freedom": "",
    # sizes and differences
    "always": "必然", "never": "绝不", "some": "某", "certain": "确定", "straight": "平直", "extreme": "极端",
    "beside": "一侧", "empty": "空", "finite": "有限", "highest": "上限", "lowest": "下限",
    "residual": "残差", "size": "绝对值", "clipped": "截断值", "reached": "到达比例", "shifted": "移位后",
    "shift": "移位", "difference": "差", "error": "误差", "errors": "误差数", "distance": "距离", "margin": "间隔",
    "violation": "违反量", "shortfall": "不足量", "excess": "超出量", "ratio": "比值", "relative": "相对",
    "gap": "差距", "deviation": "偏差", "deviance": "偏差", "squared": "平方", "square": "平方", "root": "平方根",
    "absolute": "绝对", "half": "一半", "whole": "整体", "scaled": "缩放后", "normalised": "归一化",
    "normalized": "归一化", "standardised": "标准化", "standardized": "标准化", "centred": "中心化", "centre": "中心",
    "change": "变化", "larger": "较大者", "smaller": "较小者", "large": "大", "small": "小", "big": "大",
    "low": "下限", "high": "上限", "lower": "下", "upper": "上", "above": "上方", "below": "下方", "over": "过高",
    "under": "过低", "left": "左", "right": "右", "within": "之内", "outside": "之外", "inside": "之内",
    "inner": "内部", "outer": "外部", "near": "近", "far": "远", "nearest": "最近", "farthest": "最远",
    "hardest": "最难", "hard": "难", "easy": "易", "closest": "最近", "bound": "界", "bounded": "有界",
    "limit": "极限", "range": "范围", "width": "宽度", "height": "高度", "offset": "偏移", "bias": "偏置",
    "curve": "曲率", "bend": "弯曲", "step": "阶跃", "kink": "折点",
    # probabilities
    "probability": "概率", "probabilities": "概率", "complement": "补", "log": "对数", "exponential": "指数",
    "exponentials": "指数", "exp": "指数", "odds": "几率", "confidence": "置信度", "doubt": "怀疑",
    "wanted": "目标分布", "picked": "选中", "likelihood": "似然", "density": "密度", "distribution": "分布",
    "entropy": "熵", "cross": "交叉", "cross_entropy": "交叉熵", "surprise": "惊奇度", "information": "信息",
    "divergence": "散度", "mixture": "混合", "prior": "先验", "posterior": "后验", "evidence": "证据",
    "uncertainty": "不确定度", "normaliser": "归一化因子", "normalizer": "归一化因子", "normalisation": "归一化",
    "softmax": "softmax", "sigmoid": "sigmoid", "tail": "尾部", "top": "最大值", "tops": "最大值个数",
    "is_top": "是否最大", "others": "其余之和", "other": "其他", "rest": "其余", "total": "总和", "sum": "和",
    "count": "个数", "counts": "个数", "number": "数目", "mass": "质量", "share": "份额", "average": "平均",
    "reference": "参考", "amount": "量", "odd": "奇", "even": "偶", "expected": "期望", "observed": "观测",
    "quantile": "分位数", "level": "水平", "true": "真", "false": "假", "chosen": "选中", "rejected": "拒绝",
    "preference": "偏好", "reward": "奖励", "policy": "策略", "advantage": "优势",
    # costs and factors
    "cost": "代价", "costs": "代价", "penalty": "惩罚", "loss": "损失", "value": "值", "factor": "因子",
    "focus": "聚焦", "focal": "聚焦", "modulation": "调制", "power": "幂", "exponent": "指数", "coefficient": "系数",
    "base": "底", "growth": "增长", "decay": "衰减", "slope": "斜率", "curvature": "曲率", "gradient": "梯度",
    "grad": "梯度", "derivative": "导数", "spread": "离散", "drift": "漂移", "drifting": "漂移量",
    "effective": "有效", "weighting": "加权", "weighted": "加权", "smooth": "平滑", "smoothed": "平滑后",
    "smoothing": "平滑", "temperature": "温度", "threshold": "阈值", "cap": "上限", "capped": "封顶后", "soft": "软",
    "pos": "正类", "class": "类别", "classes": "类别", "class_counts": "类别频数", "adjusted": "调整后",
    "adjustment": "调整", "allowed": "允许", "apart": "相离", "series": "级数", "inverse": "倒数",
    "reciprocal": "倒数", "start": "起点", "end": "终点", "steps": "步数", "pull": "拉力", "push": "推力",
    "up": "向上", "down": "向下", "toward": "朝向", "away": "远离", "direction": "方向", "directions": "方向",
    "sign": "符号", "side": "侧", "own": "自身", "self": "自身", "first": "第一", "second": "第二", "third": "第三",
    "last": "最后", "next": "下一个", "previous": "前一个", "one": "一", "zero": "零", "two": "二", "both": "两者",
    "yes": "是", "no": "否", "of": "之", "is": "是否", "in": "在", "to": "到", "from": "自", "by": "按", "per": "每",
    "not": "非", "and": "与", "at": "在", "with": "含", "nothing": "是否为零", "like": "类型参照", "keep": "保留",
    "kept": "保留", "active": "激活", "present": "出现", "absent": "未出现", "complete": "完整", "valid": "有效",
    "known": "已知", "unknown": "未知", "cost_of_yes": "判正代价", "cost_of_no": "判负代价", "positive_part": "正部",
    "negative_part": "负部", "beyond": "之外", "cos": "余弦", "sin": "正弦", "cotangent": "余切", "df": "自由度",
    "direct": "直接值", "divisor": "除数", "downward": "向下", "entropies": "熵", "failure": "失败",
    "failures": "失败", "fall": "下降", "folded": "折叠值", "full": "完整", "gammas": "伽马函数", "one_hot": "独热",
    "ignore_index": "忽略标签", "lead": "领先量", "perfect": "满分", "rise": "上升", "success": "成功", "swap": "交换",
    "swapped": "交换后", "together": "合计", "trials": "试验次数", "turned": "旋转后", "upward": "向上",
    "positive_direction": "正例方向", "negative_direction": "负例方向", "positive_distance": "正例距离",
    "negative_distance": "负例距离", "negative_probabilities": "负例概率", "grad_farthest": "对最远距离的梯度",
    "grad_nearest": "对最近距离的梯度", "errors_slope": "误差数的斜率", "hits_slope": "命中数的斜率",
    "total_cost": "总代价", "total_count": "总个数", "log_total": "总和的对数", "from_anchor": "从锚点出发",
    "cos_margin": "间隔的余弦", "sin_margin": "间隔的正弦",
    "from_positive": "从正例出发", "bend_anchor": "锚点处弯曲", "bend_positive": "正例处弯曲",
    "easy_margin": "宽松间隔",
    "with_margin": "加间隔后", "log_complement": "补概率的对数", "target_log_probability": "目标类的对数概率",
    "target_probability": "目标类的概率", "log_ratio": "比值的对数", "log_mean": "均值的对数",
    "log_rate": "速率的对数", "against": "相对", "along": "沿线分量", "closeness": "接近度",
    "has_positives": "是否有正例", "first_turn": "第一转角", "second_turn": "第二转角", "turn": "转角",
    "has": "是否有", "reach": "到达量", "stretch": "拉伸", "log_odds_against": "反对的对数几率",
    "cost_of_success": "成功的代价", "cost_of_failure": "失败的代价", "half_df": "自由度的一半",
    "half_root": "平方根的一半", "log_gammas": "伽马函数的对数", "l1_ratio": "L1 比值", "l2_ratio": "L2 比值",
    "log_target": "目标的对数", "swapped_direction": "交换后的方向", "swapped_distance": "交换后的距离",
    "soft_cap": "软上限",
    # steps through sequences and lattices
    "emissions": "发射得分", "transitions": "转移得分", "transition": "转移", "tags": "标注", "tag": "标注",
    "frame": "帧", "frames": "帧数", "blank": "空白", "said": "已输出", "place": "位置", "places": "位置数",
    "here": "此处", "there": "是否在内", "nobody": "无标签", "ending": "后续权重", "endings": "各步后续权重",
    "onward": "向后得分", "leaving": "离开权重", "following": "其后权重", "before": "前一标注", "arrived": "到达",
    "from_before": "来自前一标注的得分", "marginal": "边缘概率", "marginals": "边缘概率", "moves": "转移概率",
    "elsewhere": "其他各处", "tag_probabilities": "标注概率", "transition_slope": "转移的斜率",
    "of_diagonal": "对角线上的下标", "of_frame": "帧上的下标", "by_blank": "经由空白", "by_label": "经由标签",
    "blank_next": "下一步为空白", "label_next": "下一步为标签", "is_blank": "是否空白", "is_label": "是否标签",
    "stuck": "是否无路", "being": "所在概率", "visits": "经过概率", "occupancy": "占用概率", "surplus": "盈余",
    "columns": "列", "beginning": "起点", "is_first": "是否第一步", "leading": "首项",
    # sets, rows, pairs
    "row": "行", "column": "列", "pair": "对", "pairs": "对数目", "triplet": "三元组", "candidates": "候选",
    "positives": "正例", "negatives": "负例", "false_positives": "假正例", "false_negatives": "假负例",
    "true_positives": "真正例", "rival": "竞争者", "rivals": "竞争者", "wrong": "错误", "mistaken": "是否判错",
    "mistake": "错误", "correct": "正确", "hits": "命中", "misses": "漏报", "overlap": "重叠", "union": "并集",
    "intersection": "交集", "sizes": "大小", "ties": "并列", "similar": "相似", "cosine": "余弦", "angle": "角度",
    "sine": "正弦", "dot": "点积", "product": "乘积", "norm": "范数", "length": "长度", "lengths": "长度",
    "unit": "单位", "radius": "半径", "rank": "排名", "ranks": "排名", "order": "次序", "sorted": "排序后",
    "index": "下标", "position": "位置", "gain": "增益", "discount": "折扣", "ideal": "理想", "area": "面积",
    "volume": "体积", "cumulative": "累积", "item": "项", "items": "项", "list": "列表", "user": "用户",
    "token": "词元", "time": "时间", "state": "状态", "path": "路径", "source": "来源", "teacher": "教师",
    "student": "学生", "group": "组", "moment": "矩", "matrix": "矩阵", "diagonal": "对角线", "off": "非",
    "group_size": "组大小", "norms": "范数", "signature": "签名", "clip": "裁剪", "clamped": "截断值",
    "truncated": "截断后", "censored": "删失", "event": "事件", "hazard": "风险率", "survival": "生存",
    "duration": "时长", "z_loss": "z 损失", "eps": "ε", "inf": "无穷", "main": "主要", "term": "项", "terms": "项",
    "part": "部分", "parts": "部分", "core": "核心", "bulk": "主体", "body": "主体", "edge": "边缘", "flat": "平坦",
    "steep": "陡峭", "linear": "线性", "quadratic": "二次", "cubic": "三次", "constant": "常数", "argument": "自变量",
    "variable": "变量", "result": "结果", "new": "新", "old": "旧", "raw": "原始", "tanh": "双曲正切",
    "cosh": "双曲余弦", "sinh": "双曲正弦", "gamma_function": "伽马函数", "psi": "ψ", "all": "全部", "any": "任一",
    "mixed": "混合", "middle": "中间", "mid": "中点", "midpoint": "中点", "smallest": "最小", "largest": "最大",
    "minimum": "最小值", "maximum": "最大值", "max": "最大值", "min": "最小值", "strength": "强度", "balance": "平衡",
    "balanced": "平衡", "imbalance": "不平衡", "trade": "权衡", "rotated": "旋转后", "logarithm": "对数", "ln": "对数",
    "shrunk": "收缩后", "stretched": "拉伸后", "tilted": "倾斜后", "penalised": "受惩罚", "penalized": "受惩罚",
    "quotient": "商", "remainder": "余数", "fraction": "比例", "proportion": "比例", "precision": "精度",
    "recall": "召回率", "accuracy": "准确率", "noise": "噪声", "signal": "信号", "sample": "样本", "samples": "样本",
    "batch": "批", "bounds": "界", "boundary": "边界", "sharpness": "锐度", "sharp": "尖锐", "hinge": "铰链",
    "ramp": "斜坡", "toward_target": "趋向目标", "mu": "μ", "theta": "θ", "between": "之间", "common": "共同",
    "joint": "联合", "given": "给定", "mean_rate": "平均速率", "guess": "猜测", "best": "最佳", "worst": "最差",
    "better": "更好", "winner": "胜者", "loser": "败者", "winning": "获胜", "losing": "失利", "ordered": "有序",
    "reversed": "反转", "forward": "正向", "backward": "反向", "reverse": "反向", "symmetric": "对称",
    "pull_up": "上拉", "pull_down": "下拉", "taken": "取用值", "lost": "是否归零",
    "descent": "下降项", "along_row": "沿行", "along_column": "沿列", "strengths": "强度",
    # preferences, policies and samples
    "reference_point": "参考点", "centering": "居中强度", "flip_rate": "翻转率", "label_smoothing": "标签平滑",
    "desirable_weight": "好评权重", "undesirable_weight": "差评权重", "kind_weight": "类型权重", "dual": "双重",
    "moving": "随策略变动部分", "old_log_probability": "旧策略的对数概率", "clip_low": "裁剪下限",
    "clip_high": "裁剪上限", "log_expected_positive": "正例期望次数的对数",
    "log_expected_negatives": "负例期望次数的对数", "adjusted_positive": "调整后的正例得分",
    "adjusted_negatives": "调整后的负例得分", "shares": "份额",
    "log_shares": "份额的对数", "data_logit": "数据的对数几率", "noise_logits": "噪声的对数几率",
    "false_alarms": "误报代价",
    # sequences
    "symbols": "标签数", "spare": "标签后补一位", "spelled": "插入空白的标签", "may_skip": "可否跳过空白",
    "begun": "已走路径", "stepped": "停留或前进一步", "skipped": "跳过空白", "ahead": "前方路径",
    "through": "经过各状态的路径", "live": "有效", "twins": "相邻重复", "repeats": "重复数",
    "needed": "所需帧数", "found": "找到",
}  # fmt: skip

# --- facts and headings ---------------------------------------------------------------------------------------------

FACTS = {
    # families
    "regression": "回归", "classification": "分类", "margin": "间隔", "imbalance": "类别不平衡", "likelihood": "似然",
    "divergence": "散度", "metric": "度量学习", "ranking": "排序", "segmentation": "分割", "sequence": "序列",
    "penalty": "惩罚项", "preference": "偏好与策略", "structured": "结构化预测", "sampling": "采样",
    "contrastive": "对比学习", "generative": "生成", "survival": "生存分析",
    # input conventions and targets
    "real": "实数", "logit": "对数几率", "score": "得分", "embedding": "嵌入向量", "parameter": "参数",
    "log-rate": "对数速率", "probability": "概率", "log-probability": "对数概率", "log-likelihood": "对数似然",
    "similarity": "相似度", "affinity": "亲和度",
    "distance": "距离", "rate": "速率", "positive": "正数", "simplex": "概率分布", "log-simplex": "对数概率分布",
    "integer": "整数", "flag": "真或假", "none": "无", "one of": "其中之一",
    # properties
    "convex": "凸", "strongly convex": "强凸", "proper": "严格适当评分", "bounded": "有界", "symmetric": "对称",
    "lipschitz": "利普希茨连续", "smooth": "光滑", "robust": "稳健", "calibrated": "分类校准",
    "evaluation": "仅用于评估",
    # tasks
    "count": "计数", "binary": "二分类", "multiclass": "多分类", "multilabel": "多标签", "distribution": "分布预测",
}  # fmt: skip

PHRASES = {
    "yes": "是", "no": "否", "Notes": "说明", "signature": "形状签名", "differentiated": "可求导", "residual": "残差",
    "margin": "间隔", "angle": "夹角",
    "{loss}: value and gradient against the {axis}": "{loss}：值与梯度，横轴为{axis}",
    "{loss}: value against the {axis}": "{loss}：值，横轴为{axis}", "Formula": "公式", "Inputs": "输入",
    "Parameters": "参数", "Step by step": "逐步计算", "From batch to rows": "由批到行",
    "Value of each example": "每个样本的损失值", "Sum": "求和", "Mean": "求平均",
    "Gradient of each example": "每个样本的梯度", "Gradient of the sum": "总和的梯度",
    "Gradient of the mean": "平均值的梯度", "Diagonal of the Hessian": "海森矩阵的对角线",
    "number of examples": "样本数", "sum of the weights": "权重之和",
    "Left out of value and gradient, by weight 0, the mask or an ignored label: {entries}.":
        "因权重为 0、掩码或忽略的标签而不计入值与梯度的下标：{entries}。",
    "Each example enters with weight / (sum of the weights).": "每个样本按 权重 / 权重之和 计入。",
    "Each example enters with 1/N = 1/{count}.": "每个样本按 1/N = 1/{count} 计入。",
    "Each example enters with weight / denominator.": "每个样本按 权重 / 分母 计入。",
    "Each example enters with its weight.": "每个样本按其权重计入。",
    "The mean of nothing is 0.": "没有任何样本时，平均值规定为 0。", "{hidden} more rows": "另有 {hidden} 行",
    "{hidden} more numbers": "另有 {hidden} 个数", "Properties": "性质", "Tasks": "适用任务", "Likelihood": "似然推导",
    "References": "文献", "Aliases": "别名", "Related": "相关", "Definition": "定义", "default": "默认值",
    "value": "值", "gradient": "梯度", "curvature": "曲率", "name": "名称", "family": "大类", "input": "输入",
    "target": "目标", "summary": "简介", ", ": "、",
    "1 loss. Its page: lossary show NAME": "共 1 个损失函数。详情：lossary show NAME",
    "{count} losses. A page for each: lossary show NAME": "共 {count} 个损失函数。各自的详情：lossary show NAME",
    # a diagnosis
    "{loss}: mean {value} over {counted} of {examples} examples":
        "{loss}：{examples} 个样本中计入 {counted} 个，平均值 {value}",
    "Findings": "发现的问题",
    "{name}: all rows are >= 0 and sum to 1. If they are probabilities, pass the logits: softmax is applied here.":
        "{name}：每一行都非负且和为 1。如果它们是概率，请改传 logits：该损失自己会做 softmax。",
    "nothing suspicious": "没有可疑之处",
    "First number that is not finite": "最先不是有限数的量", "Values": "损失值", "Largest values": "最大的损失值",
    "Classes": "类别", "Compared with": "与简单预测相比", "example": "样本", "share of the total": "占总和",
    "smallest": "最小", "10 %": "10 %", "median": "中位数", "90 %": "90 %", "largest": "最大", "deviation": "标准差",
    "not finite": "非有限数", "dead": "梯度为零", "saturated": "饱和（梯度几乎为零）", "stuck": "损失大而梯度几乎为零",
    "class": "类别", "count": "个数", "weight": "权重", "cost undecided": "无判断时的代价", "mean value": "平均损失",
    "this prediction": "本次预测", "the least these targets allow": "这些目标下的最小可能值",
    "best constant": "最佳常数", "every class alike": "各类均等", "class frequencies": "类别频率",
    "all embeddings alike": "所有嵌入相同", "{what} of example {example}": "样本 {example} 的{what}",
    "{count} examples are not finite": "{count} 个样本不是有限数",
}  # fmt: skip


def quantity(identifier: str, lang: Lang = "en") -> str | None:
    """Return the words for a local or an argument; None if a part of it has no Chinese word yet.

    >>> quantity("log_probabilities"), quantity("log_probabilities", "zh"), quantity("delta", "zh")
    ('log probabilities', '对数概率', 'δ')
    """
    if lang == "en":
        return identifier.replace("_", " ")
    if identifier in _CHINESE:
        return _CHINESE[identifier]
    parts = [_part(part) for part in identifier.split("_") if part]
    return None if None in parts else "".join(p for p in parts if p)


def _part(word: str) -> str | None:
    if word in GREEK:
        return GREEK[word]
    if len(word.rstrip("0123456789")) <= 1:
        return word
    return _CHINESE.get(word) or _CHINESE.get(word.removesuffix("s"))


def fact(word: str, lang: Lang = "en") -> str:
    """Return the words for a family, a convention, a property, a task or an axis; mathematics such as ``[0, 1]`` stays.

    >>> fact("logit of the true class", "zh"), fact("log_rate (target 2)", "zh"), fact("[0, 1]", "zh")
    ('真实类别的对数几率', '速率的对数（目标 2）', '[0, 1]')
    """
    if lang == "en":
        return word
    what, of, whom = word.partition(" of the ")
    if of and whom in _WHOM:
        return _WHOM[whom] + FACTS.get(what, what)
    held = re.fullmatch(r"(\w+) \(target (.+)\)", word)
    if held:
        return f"{quantity(held[1], lang) or held[1]}（目标 {held[2]}）"
    named = quantity(word, lang) if word.isidentifier() else None  # an axis may be an argument
    return FACTS.get(word) or named or word


_WHOM = {"true class": "真实类别的", "first class": "第一类的", "truth": "真实答案的"}


def phrase(text: str, lang: Lang = "en", **numbers: object) -> str:
    """Return a heading or a sentence, with its numbers put in."""
    return (PHRASES[text] if lang == "zh" else text).format(**numbers)


def summary(loss: Loss, lang: Lang = "en") -> str:
    """Return what a loss is, in a sentence: in English where nobody has said it in the language yet.

    >>> import lossary
    >>> summary(lossary.huber, "zh")
    '离目标不超过 `delta` 时为二次函数，超出后为线性函数。'
    """
    return SUMMARIES.get(loss.name, loss.summary) if lang == "zh" else loss.summary


def likelihood(loss: Loss, lang: Lang = "en") -> str:
    """Return the noise model of a loss with its derivation, empty if it has none; in English where need be."""
    return LIKELIHOODS.get(loss.name, loss.likelihood) if lang == "zh" and loss.likelihood else loss.likelihood


def is_chinese(text: str) -> bool:
    """Whether a text has Chinese characters.

    >>> is_chinese("交叉熵"), is_chinese("mse")
    (True, False)
    """
    return re.search("[\u4e00-\u9fff]", text) is not None


def called(name: str) -> list[str]:
    """Return the names of the losses that are called so in Chinese, the most usual first.

    >>> called("交叉熵损失函数")[0], called("合页")
    ('softmax_cross_entropy', ['hinge'])
    """
    plain = name.strip().upper().removesuffix("函数").removesuffix("损失").replace(" ", "")
    return [loss for loss, text in NAMES.items() if plain in [n.upper().removesuffix("损失") for n in text.split()]]


def texts(loss: Loss) -> list[tuple[int, str]]:
    """Return what is said of a loss in Chinese, each part with what a mention in it is worth to a search."""
    facts = (fact(f, "zh") for f in (loss.family, *loss.tasks, *loss.properties))
    title = NAMES.get(loss.name, "")
    return [(8, title), (4, " ".join(facts)), (1, summary(loss, "zh") + likelihood(loss, "zh"))]
