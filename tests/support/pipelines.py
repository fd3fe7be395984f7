"""Pipelines of diffusers with tiny networks of random weights, built here: nothing is loaded or fetched.

A decoder of random weights gives values near 0, in meshes of the finest scale that carry no message at this
size. So its last layer is made coarser and louder, and grain is laid over: smooth colours with texture.
"""

import json

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    DDPMScheduler,
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    IFPipeline,
    StableDiffusionPipeline,
    StableDiffusionUpscalePipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from diffusers.pipelines.deepfloyd_if.watermark import IFWatermarker
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

SIZE = 256
"""Pixels a side."""

STEPS = {"num_inference_steps": 1, "height": SIZE, "width": SIZE}


class Coarse(torch.nn.Module):
    """The last layer of a decoder, in patches of 32 pixels with a deviation of 0.35, under noise of 0.09."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        colours = self.layer(x)
        colours = torch.nn.functional.avg_pool2d(colours.float(), 32)
        mean, deviation = (f(dim=(1, 2, 3), keepdim=True) for f in (colours.mean, colours.std))
        patches = (0.35 * (colours - mean) / deviation).repeat_interleave(32, 2).repeat_interleave(32, 3)
        noise = torch.randn(patches.shape[-2:], generator=torch.Generator().manual_seed(1))
        return (patches + 0.09 * noise).to(x.dtype)


def autoencoder(**settings):
    torch.manual_seed(0)
    vae = AutoencoderKL(
        block_out_channels=[8, 8, 16, 16],
        in_channels=3,
        out_channels=3,
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        latent_channels=4,
        norm_num_groups=4,
        layers_per_block=1,
        sample_size=SIZE,
        shift_factor=0.0,
        force_upcast=False,
        **settings,
    )
    vae.decoder.conv_out = Coarse(vae.decoder.conv_out)
    return vae.eval()


def tokenizer(folder):
    """CLIP's, of a vocabulary of letters."""
    letters = [chr(code) for code in range(97, 123)]
    vocabulary = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(vocabulary)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer.from_pretrained(str(folder), model_max_length=16)


def t5_tokenizer():
    words = {"<pad>": 0, "</s>": 1, "<unk>": 2, "harbour": 3}
    words_of = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    words_of.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=words_of, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", model_max_length=16
    )


def text_config(hidden=16, projection=16):
    return CLIPTextConfig(
        bos_token_id=52,
        eos_token_id=53,
        pad_token_id=53,
        hidden_size=hidden,
        intermediate_size=16,
        num_attention_heads=2,
        num_hidden_layers=2,
        vocab_size=54,
        projection_dim=projection,
        max_position_embeddings=16,
    )


def unet(**settings):
    torch.manual_seed(0)
    return UNet2DConditionModel(
        **{
            "block_out_channels": (8, 16),
            "layers_per_block": 1,
            "sample_size": SIZE // 8,
            "in_channels": 4,
            "out_channels": 4,
            "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
            "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
            "cross_attention_dim": 16,
            "attention_head_dim": 8,
            "norm_num_groups": 4,
            **settings,
        }
    ).eval()


def quiet(pipe):
    pipe.set_progress_bar_config(disable=True)
    return pipe


def stable_diffusion(folder):
    torch.manual_seed(0)
    return quiet(
        StableDiffusionPipeline(
            vae=autoencoder(),
            text_encoder=CLIPTextModel(text_config()).eval(),
            tokenizer=tokenizer(folder),
            unet=unet(),
            scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
    )


def stable_diffusion_xl(folder, kind=StableDiffusionXLPipeline):
    torch.manual_seed(0)
    words = tokenizer(folder)
    return quiet(
        kind(
            vae=autoencoder(),
            text_encoder=CLIPTextModel(text_config()).eval(),
            text_encoder_2=CLIPTextModelWithProjection(text_config()).eval(),
            tokenizer=words,
            tokenizer_2=words,
            unet=unet(
                cross_attention_dim=32,
                transformer_layers_per_block=1,
                addition_embed_type="text_time",
                addition_time_embed_dim=8,
                projection_class_embeddings_input_dim=64,
            ),
            scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        )
    )


def flux(folder):
    torch.manual_seed(0)
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=16,
        axes_dims_rope=[4, 4, 8],
    ).eval()
    return quiet(
        FluxPipeline(
            scheduler=FlowMatchEulerDiscreteScheduler(),
            vae=autoencoder(),
            text_encoder=CLIPTextModel(text_config()).eval(),
            tokenizer=tokenizer(folder),
            text_encoder_2=T5EncoderModel(
                T5Config(vocab_size=4, d_model=32, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
            ).eval(),
            tokenizer_2=t5_tokenizer(),
            transformer=transformer,
        )
    )


def upscaler(folder):
    """The visible mark of its makers is laid over its Pillow images, after all else."""
    torch.manual_seed(0)
    return quiet(
        StableDiffusionUpscalePipeline(
            vae=autoencoder(scaling_factor=0.08333),
            text_encoder=CLIPTextModel(text_config()).eval(),
            tokenizer=tokenizer(folder),
            unet=unet(in_channels=7, num_class_embeds=400),
            low_res_scheduler=DDPMScheduler(),
            scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
            watermarker=IFWatermarker(),
        )
    )


def deep_floyd():
    """Makes pixels without a decoder: the last layer of its network is made coarser in its stead."""
    # without attention, which takes minutes for as many pixels
    blocks = {"down_block_types": ["DownBlock2D"] * 2, "up_block_types": ["UpBlock2D"] * 2}
    net = unet(in_channels=3, out_channels=6, sample_size=SIZE, mid_block_type=None, **blocks)
    net.conv_out = Coarse(net.conv_out)
    return quiet(
        IFPipeline(
            tokenizer=None,
            text_encoder=None,
            unet=net,
            scheduler=DDPMScheduler(variance_type="learned_range", prediction_type="sample"),
            safety_checker=None,
            feature_extractor=None,
            watermarker=IFWatermarker(),
            requires_safety_checker=False,
        )
    )


def modular_xl(folder):
    from diffusers import StableDiffusionXLAutoBlocks  # of diffusers 0.35 and later

    pipe = StableDiffusionXLAutoBlocks().init_pipeline()
    parts = stable_diffusion_xl(folder).components
    pipe.update_components(**{name: part for name, part in parts.items() if part is not None})
    return quiet(pipe)
