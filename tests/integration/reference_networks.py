"""The networks of tests/data/reference/networks as PyTorch modules.

Written for these tests, each in the way that people write such networks.
"""

import torch
import torch.nn.functional as F
from torch import nn

import conftest
import safetensors_file
from network_layers import Before, HeadwiseAttention, LeafTree, OthersAttention
from network_layers import PathForest, SapFff

FOLDER = conftest.REFERENCE / "networks"


class Cnn(nn.Module):
    """Two convolutions and three layers, FFF or dense."""

    def __init__(self, fff):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.conv2 = nn.Conv2d(6, 16, 5)
        self.pool = nn.MaxPool2d(2)
        sizes = [(400, 120, 8), (120, 84, 6), (84, 10, 6)]
        for i, (inputs, outputs, depth) in enumerate(sizes, start=1):
            layer = SapFff(inputs, outputs, depth) if fff else nn.Linear(inputs, outputs)
            setattr(self, f"fc{i}", layer)

    def forward(self, pixels):
        x = self.pool(F.relu(self.conv1(pixels)))
        x = self.pool(F.relu(self.conv2(x)))
        x = x.view(-1, 16 * 5 * 5)
        x = F.relu(self.fc1(x))
        return self.fc3(F.relu(self.fc2(x)))


class VitBlock(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm2 = nn.LayerNorm(width)
        self.ffn = LeafTree(width, 4, width, 3)

    def forward(self, x):
        normed = self.norm1(x)
        x = x + self.attn(normed, normed, normed, need_weights=False)[0]
        return x + self.ffn(self.norm2(x))


class Vit(nn.Module):
    """A patch per token by a convolution, a class token, learned positions."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 32, 4, stride=4)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 32))
        self.pos_embedding = nn.Parameter(torch.zeros(1, 17, 32))
        self.layers = nn.ModuleList(VitBlock(32, 4) for _ in range(4))
        self.norm = nn.LayerNorm(32)
        self.head = nn.Linear(32, 10)

    def forward(self, pixels):
        x = self.patch(pixels).flatten(2).transpose(1, 2)
        x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), x), dim=1)
        x = x + self.pos_embedding
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x)[:, 0])


class Patches(nn.Module):
    """Patches of size x size as tokens: rows, columns, then channels."""

    def __init__(self, size):
        super().__init__()
        self.size = size

    def forward(self, x):
        rows, channels, height, width = x.shape
        size = self.size
        x = x.view(rows, channels, height // size, size, width // size, size)
        return x.permute(0, 2, 4, 3, 5, 1).reshape(rows, -1, size * size * channels)


class ShiftedPatches(nn.Module):
    def __init__(self, size, channels, width):
        super().__init__()
        wide = 5 * channels * size * size
        self.to_patch_tokens = nn.Sequential(
            Patches(size), nn.LayerNorm(wide), nn.Linear(wide, width)
        )

    def forward(self, x):
        moves = ((1, -1, 0, 0), (-1, 1, 0, 0), (0, 0, 1, -1), (0, 0, -1, 1))
        moved = [F.pad(x, move) for move in moves]
        return self.to_patch_tokens(torch.cat((x, *moved), dim=1))


class OthersVitLayers(nn.Module):
    def __init__(self, width, depth):
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList([
                Before(width, OthersAttention(width, 3, 16)),
                Before(width, PathForest(width, 3, trees=2)),
            ])
            for _ in range(depth)
        )

    def forward(self, x):
        for attention, forest in self.layers:
            x = attention(x) + x
            x = forest(x) + x
        return x


class OthersVit(nn.Module):
    """Shifted patches, and attention in which no token sees itself."""

    def __init__(self):
        super().__init__()
        self.to_patch_embedding = ShiftedPatches(4, 3, 32)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 32))
        self.pos_embedding = nn.Parameter(torch.zeros(1, 17, 32))
        self.dropout = nn.Dropout(0.1)
        self.transformer = OthersVitLayers(32, 2)
        self.mlp_head = nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 10))

    def forward(self, pixels):
        x = self.to_patch_embedding(pixels)
        rows, tokens, _ = x.shape
        first = self.cls_token.repeat(rows, 1, 1)
        x = torch.cat([first, x], dim=1)
        x += self.pos_embedding[:, : tokens + 1]
        x = self.transformer(self.dropout(x))
        return self.mlp_head(x[:, 0])


class ScaledSines(nn.Module):
    def __init__(self, width, tokens):
        super().__init__()
        self.scale_factor = nn.Parameter(torch.ones(1))
        where = torch.arange(tokens).unsqueeze(1)
        waves = 10000.0 ** (-torch.arange(0, width, 2) / width)
        table = torch.zeros(1, tokens, width)
        table[0, :, 0::2] = torch.sin(where * waves)
        table[0, :, 1::2] = torch.cos(where * waves)
        self.register_buffer("table", table, persistent=False)

    def forward(self, ids):
        return self.scale_factor * self.table[:, : ids.shape[1]]


class LearnedPositions(nn.Module):
    def __init__(self, width, tokens):
        super().__init__()
        self.embedding = nn.Embedding(tokens, width)
        self.register_buffer("position_ids", torch.arange(tokens).expand(1, -1))

    def forward(self, ids):
        return self.embedding(self.position_ids[:, : ids.shape[1]])


class BertEmbedding(nn.Module):
    def __init__(self, arch):
        super().__init__()
        width, tokens = arch["hidden_size"], arch["embedding"]["max_seq_length"]
        learned = arch["embedding"]["pos_embedding"] == "learned"
        self.word_embedding = nn.Embedding(211, width, padding_idx=0)
        self.pos_embedding = (LearnedPositions if learned else ScaledSines)(width, tokens)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        self.dropout = nn.Dropout(0.1)

    def forward(self, ids):
        x = self.word_embedding(ids) + self.pos_embedding(ids)
        return self.norm(self.dropout(x))


class BertAttention(nn.Module):
    def __init__(self, arch):
        super().__init__()
        width, attention = arch["hidden_size"], arch["attention"]
        self.self_attention = HeadwiseAttention(
            width, attention["num_attention_heads"], attention["qkv_bias"])
        self.dense = nn.Linear(width, width, bias=arch["use_bias"])

    def forward(self, x, mask):
        return self.dense(self.self_attention(x, mask))


class DenseForward(nn.Module):
    def __init__(self, width, hidden):
        super().__init__()
        self.dense_in = nn.Linear(width, hidden, bias=False)
        self.nonlin = nn.GELU()
        self.dense_out = nn.Linear(hidden, width, bias=False)

    def forward(self, x):
        return self.dense_out(self.nonlin(self.dense_in(x)))


class BertLayer(nn.Module):
    def __init__(self, arch):
        super().__init__()
        width, size = arch["hidden_size"], arch["intermed_size"]
        self.dropout = nn.Dropout(0.1, inplace=False)
        self.norm1 = nn.LayerNorm(width, eps=1e-12)
        self.norm2 = nn.LayerNorm(width, eps=1e-12)
        self.attn = BertAttention(arch)
        if arch["intermed_type"] == "fff":
            self.ffn = PathForest(width, arch["intermed_depth"], trees=size)
        else:
            self.ffn = DenseForward(width, size)

    def forward(self, x, mask):
        x = x + self.dropout(self.attn(self.norm1(x), mask))
        return x + self.dropout(self.ffn(self.norm2(x)))


class BertEncoder(nn.Module):
    def __init__(self, arch):
        super().__init__()
        self.embedding = BertEmbedding(arch)
        self.layers = nn.ModuleList(
            BertLayer(arch) for _ in range(arch["num_transformer_layers"]))
        self.final_norm = nn.LayerNorm(arch["hidden_size"], eps=1e-12)

    def forward(self, ids, mask):
        if mask is not None:
            mask = (1.0 - mask[:, None, None, :].float()) * -10000.0
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x, mask)
        return self.final_norm(x)


class PredictionHead(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.dense = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=1e-12)

    def forward(self, x):
        return self.norm(F.gelu(self.dense(x)))


class BertForWords(nn.Module):
    """Logits of all words at every token, rows and tokens in one dimension."""

    def __init__(self, arch):
        super().__init__()
        width = arch["hidden_size"]
        self.encoder = BertEncoder(arch)
        self.decoder = nn.Linear(width, 211, bias=arch["decoder_bias"])
        skip = arch["skip_head_transform"]
        self.prediction_head = nn.Identity() if skip else PredictionHead(width)
        self.decoder.weight = self.encoder.embedding.word_embedding.weight

    def forward(self, input_ids, attention_mask=None):
        x = self.encoder(input_ids, attention_mask)
        x = x.view(-1, x.shape[-1])
        return {"loss": None, "outputs": self.decoder(self.prediction_head(x))}


class BertForClasses(nn.Module):
    """pooler: avg, zero_index, max or lse."""

    def __init__(self, arch, pooler):
        super().__init__()
        self.encoder = BertEncoder(arch)
        self.pooler = nn.Module()
        self.pooler.dense = nn.Linear(arch["hidden_size"], 40)
        self.head = nn.Linear(40, 3)
        self.over = {
            "avg": lambda x: x.mean(dim=1),
            "zero_index": lambda x: x[:, 0],
            "max": lambda x: x.max(dim=1)[0],
            "lse": lambda x: x.logsumexp(dim=1),
        }[pooler]

    def forward(self, input_ids, attention_mask=None):
        x = self.over(self.encoder(input_ids, attention_mask))
        return self.head(torch.tanh(self.pooler.dense(x)))


def with_weights(module, case):
    """Loads the weights of a case; its names must be those of the module."""
    state = safetensors_file.read(FOLDER / case / "model.safetensors")
    tensors = {name: torch.tensor(value) for name, value in state.items()}
    module.load_state_dict(tensors)
    return module.eval()
