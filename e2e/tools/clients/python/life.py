"""Runs a pod with a container through its life with grpcio, from the project's own api.proto.

life.py PROTO-DIRECTORY SOCKET IMAGE LOG-DIRECTORY [AUTHORITY]

Fails at the first answer that is not as it should be. AUTHORITY replaces what grpcio names as the authority.
"""

import sys
import time
from pathlib import Path

import grpc


def wait_for_line(path, line):
    for _ in range(100):
        if path.exists() and path.read_text().endswith(line):
            return
        time.sleep(0.05)
    sys.exit(f"{path} has no line {line!r}")


def main(protos, socket, image, logs, *authority):
    sys.path.insert(0, protos)
    cri, services = grpc.protos_and_services("runtime/v1/api.proto")
    options = [("grpc.default_authority", name) for name in authority]
    with grpc.insecure_channel(f"unix:{socket}", options=options) as channel:
        runtime = services.RuntimeServiceStub(channel)
        images = services.ImageServiceStub(channel)
        spec = cri.ImageSpec(image=image)
        assert images.PullImage(cri.PullImageRequest(image=spec)).image_ref
        sandbox = cri.PodSandboxConfig(
            metadata=cri.PodSandboxMetadata(name="python", namespace="default", uid="python"),
            hostname="python",
            log_directory=logs,
            linux=cri.LinuxPodSandboxConfig(),
        )
        pod = runtime.RunPodSandbox(cri.RunPodSandboxRequest(config=sandbox)).pod_sandbox_id
        config = cri.ContainerConfig(
            metadata=cri.ContainerMetadata(name="main"),
            image=spec,
            command=["sh", "-c", "echo started; exec sleep 1000"],
            log_path="main.log",
            linux=cri.LinuxContainerConfig(),
        )
        request = cri.CreateContainerRequest(pod_sandbox_id=pod, config=config, sandbox_config=sandbox)
        container = runtime.CreateContainer(request).container_id
        runtime.StartContainer(cri.StartContainerRequest(container_id=container))
        request = cri.ExecSyncRequest(container_id=container, cmd=["hostname"], timeout=30)
        output = runtime.ExecSync(request)
        assert (output.exit_code, output.stdout) == (0, b"python\n"), output
        wait_for_line(Path(logs) / "main.log", " stdout F started\n")
        runtime.StopContainer(cri.StopContainerRequest(container_id=container, timeout=0))
        status = runtime.ContainerStatus(cri.ContainerStatusRequest(container_id=container)).status
        assert status.state == cri.CONTAINER_EXITED, status
        runtime.RemoveContainer(cri.RemoveContainerRequest(container_id=container))
        runtime.StopPodSandbox(cri.StopPodSandboxRequest(pod_sandbox_id=pod))
        runtime.RemovePodSandbox(cri.RemovePodSandboxRequest(pod_sandbox_id=pod))
        try:
            runtime.PodSandboxStatus(cri.PodSandboxStatusRequest(pod_sandbox_id=pod))
            sys.exit("a removed pod has a status")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.NOT_FOUND, error


if __name__ == "__main__":
    main(*sys.argv[1:])
