#!/bin/sh
# install_variant.sh FOLDER VARIANT [EXTRAS]: makes a virtual environment with robmon as that variant of the image has it,
# pinned, with further extras if there are any (`onnx,s3`). deploy/Dockerfile runs it in a folder with the sources.
set -eu

folder=$1
variant=$2
extras=${3:-}

refuse() {
    echo "$1" >&2
    exit 1
}

case "$variant" in
    cpu) parts=images,mlflow,report,torch ;;
    cuda) parts=gpu,images,mlflow,report,torch ;;
    remote) parts=report ;;
    *) refuse "VARIANT is '$variant': choose cpu, cuda or remote" ;;
esac

pip="$folder/bin/pip install --disable-pip-version-check --progress-bar off --constraint constraints.txt"
python -m venv "$folder"

if [ "$variant" = cpu ]; then
    # First, alone and by its full name: the usual torch of this version brings gigabytes of CUDA libraries.
    torch="$(sed -n 's/^\(torch==[0-9.]*\)$/\1/p' constraints.txt)+cpu"
    $pip --no-deps "$torch" ||
        refuse "the variant cpu needs $torch: name a package index that has it, --build-arg PIP_EXTRA_INDEX_URL=..., or build VARIANT=cuda"
fi
$pip ".[$parts${extras:+,$extras}]"
if [ "$variant" = cuda ]; then
    "$folder/bin/python" -c 'import sys, torch; sys.exit(torch.version.cuda is None)' ||
        refuse "the variant cuda got a torch without CUDA: name a package index that has one with it, or build VARIANT=cpu"
fi
