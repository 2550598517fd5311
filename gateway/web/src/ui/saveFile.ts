/** Hands a file that was fetched to the person. */
export function saveFile(file: Blob, name: string): void {
  const address = URL.createObjectURL(file);
  const link = document.createElement("a");
  link.href = address;
  link.download = name;
  document.body.append(link);
  link.click();
  link.remove();
  // The browser has begun to save when the click is seen to, but has not always read all of it.
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}
