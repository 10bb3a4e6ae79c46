"""llama.cpp's own server in a process of its own, on loopback, with a tiny Llama that is written as GGUF.

`with serve(folder) as url` gives the address that OpenAI's clients take as base_url. Unlike `transformers serve` it
has log-probabilities and replies by a JSON Schema.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from safetensors.numpy import load_file

NAME = "tiny"


# Prints its address when the model is loaded, and ends with its input.
_SERVER = """
import sys, xllamacpp
options = xllamacpp.CommonParams()
options.model.path = sys.argv[1]
options.port, options.n_ctx, options.n_parallel, options.n_gpu_layers = 0, int(sys.argv[3]), 1, 0
options.warmup = options.fit_params = False
options.cpuparams.n_threads = options.cpuparams_batch.n_threads = 1
server = xllamacpp.Server(options)
print(server.listening_address, flush=True)
sys.stdin.read()
"""


@contextmanager
def serve(folder: Path, context: int = 4096) -> Iterator[str]:
    """Run a server of the Llama in a folder, in float32. Raises RuntimeError if it does not start."""
    with TemporaryDirectory() as place, (Path(place) / "log").open("w+") as log:
        file = Path(place) / "model.gguf"
        write_gguf(folder, file)
        command = [sys.executable, "-c", _SERVER, str(file), NAME, str(context)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            # the library may print as well
            address = next((line.strip() for line in process.stdout if line.startswith("http")), "")
            if not address:
                log.seek(0)
                raise RuntimeError(f"the server did not start: {log.read()[-3000:]}")
            yield f"{address}/v1"
        finally:
            process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            process.stdout.close()


def write_gguf(folder: Path, file: Path) -> None:
    """A Llama of transformers with a byte-level BPE tokenizer in llama.cpp's format, every weight as it is.

    Queries and keys would have to be rearranged for llama.cpp's rotation; a model without mixing does not need it.
    """
    from gguf import GGUFWriter, TokenType

    config = json.loads((folder / "config.json").read_text())
    tokenizer: dict[str, Any] = json.loads((folder / "tokenizer.json").read_text())
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    template = folder / "chat_template.jinja"
    writer = GGUFWriter(file, "llama")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_dimension_count(config["hidden_size"] // config["num_attention_heads"])
    writer.add_vocab_size(config["vocab_size"])

    added = {each["id"]: each for each in tokenizer["added_tokens"]}
    ids = {index: text for text, index in tokenizer["model"]["vocab"].items()}
    ids |= {index: each["content"] for index, each in added.items()}
    kinds = {True: TokenType.CONTROL, False: TokenType.USER_DEFINED}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([ids[index] for index in sorted(ids)])
    writer.add_token_types([kinds[added[i]["special"]] if i in added else TokenType.NORMAL for i in sorted(ids)])
    writer.add_token_merges(
        [each if isinstance(each, str) else " ".join(each) for each in tokenizer["model"]["merges"]]
    )
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_pad_token_id(config["pad_token_id"])
    writer.add_add_bos_token(False)
    writer.add_chat_template(template.read_text() if template.exists() else settings["chat_template"])

    for name, values in load_file(folder / "model.safetensors").items():
        writer.add_tensor(_gguf_name(name), values.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


_NAMES = {
    "model.embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "model.layers.": "blk.",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
    "self_attn.o_proj": "attn_output",
    "self_attn.": "attn_",
    "mlp.": "ffn_",
    "_proj": "",
}


def _gguf_name(name: str) -> str:
    for theirs, ours in _NAMES.items():
        name = name.replace(theirs, ours)
    return name
