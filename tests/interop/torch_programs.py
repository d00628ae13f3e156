"""Programs in plain PyTorch, as people write them, for the bridge to take over."""

import math

import torch
import torch.nn.functional as F
from torch import nn


class ResidualBlock(nn.Module):
    expansion = 1

    def __init__(self, channels, width, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = None
        if stride != 1 or channels != width:
            self.downsample = nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x):
        identity = x
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class ResNet(nn.Module):
    def __init__(self, classes=5):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2))
        self.layers = nn.Sequential(ResidualBlock(8, 8), ResidualBlock(8, 16, 2))
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(16, classes)

    def forward(self, x):
        x = self.layers(self.stem(x))
        x = torch.flatten(self.avgpool(x), 1)
        return self.fc(x)


class Attention(nn.Module):
    def __init__(self, width, heads, block, dropout):
        super().__init__()
        self.c_attn = nn.Linear(width, 3 * width)
        self.c_proj = nn.Linear(width, width)
        self.dropout = dropout
        self.heads, self.width = heads, width
        self.register_buffer("mask", torch.tril(torch.ones(block, block)).view(1, 1, block, block), persistent=False)

    def forward(self, x):
        B, T, C = x.size()
        q, k, v = self.c_attn(x).split(self.width, dim=2)
        q, k, v = (t.view(B, T, self.heads, C // self.heads).transpose(1, 2) for t in (q, k, v))
        att = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
        att = att.masked_fill(self.mask[:, :, :T, :T] == 0, float("-inf"))
        att = F.dropout(F.softmax(att, dim=-1), self.dropout, training=self.training)
        y = (att @ v).transpose(1, 2).contiguous().view(B, T, C)
        return self.c_proj(y)


class Block(nn.Module):
    def __init__(self, width, heads, block, dropout):
        super().__init__()
        self.ln_1, self.ln_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = Attention(width, heads, block, dropout)
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(width, 4 * width), "act": nn.GELU(approximate="tanh"), "c_proj": nn.Linear(4 * width, width)})

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        m = self.mlp
        return x + m["c_proj"](m["act"](m["c_fc"](self.ln_2(x))))


class GPT(nn.Module):
    """With the output layer tied to the embedding, as in nanoGPT."""

    def __init__(self, vocabulary=11, block=6, width=8, heads=2, layers=2, dropout=0.0):
        super().__init__()
        self.transformer = nn.ModuleDict({
            "wte": nn.Embedding(vocabulary, width), "wpe": nn.Embedding(block, width), "h": nn.ModuleList([Block(width, heads, block, dropout) for _ in range(layers)]),
            "ln_f": nn.LayerNorm(width),
        })  # fmt: skip
        self.lm_head = nn.Linear(width, vocabulary, bias=False)
        self.transformer.wte.weight = self.lm_head.weight

    def forward(self, idx, targets=None):
        pos = torch.arange(0, idx.size(1), dtype=torch.long, device=idx.device)
        x = self.transformer.wte(idx) + self.transformer.wpe(pos)
        for block in self.transformer.h:
            x = block(x)
        x = self.transformer.ln_f(x)
        if targets is None:
            return self.lm_head(x[:, [-1], :]), None
        logits = self.lm_head(x)
        return logits, F.cross_entropy(logits.view(-1, logits.size(-1)), targets.view(-1), ignore_index=-1)


class Tagger(nn.Module):
    """A bidirectional LSTM with its state made in `forward`."""

    def __init__(self, vocabulary=9, width=4, hidden=5, classes=3):
        super().__init__()
        self.hidden, self.layers = hidden, 2
        self.embedding = nn.Embedding(vocabulary, width, padding_idx=0)
        self.lstm = nn.LSTM(width, hidden, self.layers, batch_first=True, bidirectional=True)
        self.out = nn.Linear(2 * hidden, classes)

    def forward(self, tokens):
        h0 = torch.zeros(2 * self.layers, tokens.size(0), self.hidden).to(tokens.device)
        c0 = torch.zeros_like(h0)
        output, (h, c) = self.lstm(self.embedding(tokens), (h0, c0))
        return F.log_softmax(self.out(output), dim=-1), h[-1]


class Recurrence(nn.Module):
    """State as an argument: a tuple, or nothing."""

    def __init__(self):
        super().__init__()
        self.cell = nn.LSTMCell(3, 4)

    def forward(self, x, state=None, *, scale: float = 1.0):
        h, c = self.cell(x, state)
        return h * scale, (h, c)


class Odds(nn.Module):
    """Much of what people do in `forward`."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4))
        self.gain = nn.Parameter(torch.tensor(0.5))
        self.register_buffer("steps", torch.zeros(()))
        self.register_buffer("average", torch.zeros(4))
        self.table = torch.linspace(0.0, 1.0, 4)
        self.branches = nn.ModuleList([nn.Linear(4, 4), nn.Identity()])
        self.act = nn.PReLU(4)

    def forward(self, x):
        w = F.softplus(self.weight) * self.gain
        x = x @ w + self.table.to(x)
        if self.training:
            self.steps += 1
            with torch.no_grad():
                self.average = 0.9 * self.average + 0.1 * x.mean(0)
        x = torch.cat([branch(x) for branch in self.branches], dim=1).chunk(2, dim=1)[0]
        with torch.no_grad():
            size = x.norm(dim=-1, keepdim=True).clamp_(min=1e-6)
        x = x / size
        y = x.clone()
        y[:, 0] = 0.0
        y[:, 1:3] *= 2
        x.mul_(2).add_(1)
        z = torch.einsum("bi,bj->bij", x, y).flatten(1).sum(1, keepdim=True)
        n, rest = x.shape[0], x.shape[1:].numel()
        z = z.expand(n, rest) + torch.where(x > 0, x, torch.zeros_like(x)) - self.act(y)
        return {"z": F.relu(z, inplace=True), "sizes": (n, rest), "max": z.max(dim=1).values, "any": torch.any(z > 1)}
