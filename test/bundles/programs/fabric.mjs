import { LLMDataDist, LLMException, LLMRole } from 'llm-datadist';
import { createFabric, createTcpFabric } from 'llm-datadist/testing';

// The test kit: nodes of a fabric of the program, and one over TCP.
async function main() {
  const peer = (id, port) => ({
    remoteClusterId: id,
    remoteIpInfos: [{ ip: '127.0.0.1', port }],
    localIpInfos: [{ ip: '127.0.0.1' }],
  });
  for (const [name, fabric] of [
    ['memory', createFabric()],
    ['tcp', createTcpFabric()],
  ]) {
    const port = 24_000 + (process.pid % 1000);
    const prompt = new LLMDataDist(LLMRole.PROMPT, 1n, { backend: fabric.backend });
    const decoder = new LLMDataDist(LLMRole.DECODER, 2n, { backend: fabric.backend });
    await prompt.init({ deviceId: 0, listenIpInfo: `127.0.0.1:${port}` });
    await decoder.init({ deviceId: 1 });
    const [linked] = await decoder.linkClusters([peer(1n, port)]);
    const refused = await decoder.linkClusters([peer(3n, port + 1)]).catch((error) => error);
    console.log(`${name}: ${linked.code}, ${refused instanceof LLMException} ${refused.code}`);
    await decoder.unlinkClusters([peer(1n, port)]);
    await decoder.finalize();
    await prompt.finalize();
  }
}

main().catch((error) => {
  console.error(error);
  process.exitCode = 1;
});
