#!/bin/bash
# Jib: a Java program by its Maven plugin, as a tar and pushed, in both formats.
set -euo pipefail
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
version=3.5.2
trees
serve
tar -C "$work/tree" -cf "$work/1.tar" --xattrs --xattrs-include='*' --numeric-owner .
quiet crane append -f "$work/1.tar" -t "$registry/base:1"
quiet crane mutate "$registry/base:1" --set-platform "linux/$architecture" --env PATH=/bin -t "$registry/base:1"
mkdir -p "$work/app/src/main/java/made"
echo 'package made; public class App { public static void main(String[] a) { System.out.println("jib"); } }' >"$work/app/src/main/java/made/App.java"
cat >"$work/app/pom.xml" <<POM
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>made</groupId><artifactId>app</artifactId><version>1</version>
  <properties>
    <maven.compiler.source>17</maven.compiler.source><maven.compiler.target>17</maven.compiler.target>
    <project.build.sourceEncoding>UTF-8</project.build.sourceEncoding>
  </properties>
  <build><plugins><plugin>
    <groupId>com.google.cloud.tools</groupId><artifactId>jib-maven-plugin</artifactId><version>$version</version>
    <configuration>
      <allowInsecureRegistries>true</allowInsecureRegistries>
      <from><image>$registry/base:1</image></from>
      <to><image>$registry/jib</image></to>
      <container>
        <!-- No Java in the base: what runs is the base's own program. -->
        <entrypoint><arg>/made</arg></entrypoint><args><arg>jib</arg></args>
        <user>1234:2345</user><workingDirectory>/data/private</workingDirectory><environment><A>1</A></environment>
        <labels><one>1</one></labels><ports><port>80</port></ports><volumes><volume>/tmp/kept</volume></volumes>
      </container>
    </configuration>
  </plugin></plugins></build>
</project>
POM
# Maven's own cache stays where it is.
jib() { (cd "$work/app" && quiet nice -n 10 mvn -q -B -Dmaven.repo.local="$writers/m2" -DsendCredentialsOverHttp=true "$@"); }
jib compile
for format in Docker OCI; do
  jib "-Djib.container.format=$format" jib:buildTar
  name=${format,,}
  cp "$work/app/target/jib-image.tar" "$out/$name.tar"
  jib "-Djib.container.format=$format" "-Djib.to.image=$registry/jib:$name" jib:build
  quiet crane pull --format oci "$registry/jib:$name" "$out/pushed-$name"
  case_of pushed-$name oci pushed-$name - "$prints"
done
case_of tar-docker docker-archive docker.tar - "$prints"
case_of tar-oci oci-archive oci.tar - "$prints"
finish
